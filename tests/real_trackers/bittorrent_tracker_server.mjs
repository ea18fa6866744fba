// SPDX-License-Identifier: LGPL-3.0-only
// Serves bittorrent-tracker on free loopback ports until standard input ends.
//
//     node bittorrent_tracker_server.mjs FOLDER [INFO_HASH ...]
//
// FOLDER holds the node_modules with bittorrent-tracker; the info hashes, in hex, are those of
// torrents that are refused. Prints one line of JSON, the URLs.
// The package's own command needs a WebRTC add-on; its server does not.
import http from 'node:http'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const file = path.join(process.argv[2], 'node_modules', 'bittorrent-tracker', 'server.js')
const { default: Server } = await import(pathToFileURL(path.resolve(file)))

const refused = new Set(process.argv.slice(3))
const filter = (infoHash, params, done) => {
  done(refused.has(infoHash) ? new Error('disallowed torrent') : null)
}
const server = new Server({ udp: true, http: true, ws: true, filter })
// The server has one HTTP listener of its own; this is the second one, for IPv6.
const http6 = http.createServer((request, response) => server.onHttpRequest(request, response))
// And a third one at all addresses, for WebSocket: an upgrade goes where the server's own go.
const ws = http.createServer()
ws.on('upgrade', (...upgrade) => server.http.emit('upgrade', ...upgrade))

server.on('listening', () => {
  http6.listen(0, '::1', () => ws.listen(0, '0.0.0.0', () => {
    console.log(JSON.stringify({
      udp: `udp://127.0.0.1:${server.udp4.address().port}`,
      udp6: `udp://[::1]:${server.udp6.address().port}`,
      http: `http://127.0.0.1:${server.http.address().port}/announce`,
      http6: `http://[::1]:${http6.address().port}/announce`,
      ws: `ws://127.0.0.1:${ws.address().port}/`
    }))
  }))
})
server.listen(0, { http: '127.0.0.1', udp: '127.0.0.1', udp6: '::1' })

process.stdin.resume().on('end', () => process.exit())
