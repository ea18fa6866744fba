// SPDX-License-Identifier: LGPL-3.0-only
// Serves bittorrent-tracker on free loopback ports until standard input ends.
//
//     node bittorrent_tracker_server.mjs FOLDER
//
// FOLDER holds the node_modules with bittorrent-tracker. Prints one line of JSON, the URLs.
// The package's own command needs a WebRTC add-on; its server does not.
import http from 'node:http'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const file = path.join(process.argv[2], 'node_modules', 'bittorrent-tracker', 'server.js')
const { default: Server } = await import(pathToFileURL(path.resolve(file)))

const server = new Server({ udp: true, http: true, ws: false })
// The server has one HTTP listener of its own; this is the second one, for IPv6.
const http6 = http.createServer((request, response) => server.onHttpRequest(request, response))

server.on('listening', () => {
  http6.listen(0, '::1', () => {
    console.log(JSON.stringify({
      udp: `udp://127.0.0.1:${server.udp4.address().port}`,
      udp6: `udp://[::1]:${server.udp6.address().port}`,
      http: `http://127.0.0.1:${server.http.address().port}/announce`,
      http6: `http://[::1]:${http6.address().port}/announce`
    }))
  })
})
server.listen(0, { http: '127.0.0.1', udp: '127.0.0.1', udp6: '::1' })

process.stdin.resume().on('end', () => process.exit())
