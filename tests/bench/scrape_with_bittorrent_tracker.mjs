// SPDX-License-Identifier: LGPL-3.0-only
// Scrapes many torrents with the client of bittorrent-tracker, for bench_swarms.py.
//
//     node scrape_with_bittorrent_tracker.mjs FOLDER FILE TRACKER ...
//
// FOLDER holds the node_modules with bittorrent-tracker, FILE has an info hash a line. Each call of
// Client.scrape asks a tracker for 74 torrents; eight are under way at a tracker, as the checker has
// them. Prints a line for each answer: the info hash, seeders, completed and leechers.
import fs from 'node:fs'
import { register } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, file, ...trackers] = process.argv.slice(2)
// The client imports WebRTC, an add-on that --ignore-scripts does not build, and no scrape needs.
const nothing = `data:text/javascript,${encodeURIComponent(
  'export class RTCPeerConnection {}; export class RTCSessionDescription {};' +
  'export class RTCIceCandidate {}; export default {}'
)}`
register(`data:text/javascript,${encodeURIComponent(`
  export const resolve = (specifier, context, next) => specifier === 'webrtc-polyfill'
    ? { url: ${JSON.stringify(nothing)}, shortCircuit: true }
    : next(specifier, context)
`)}`)
const module = path.join(folder, 'node_modules', 'bittorrent-tracker', 'client.js')
const { default: Client } = await import(pathToFileURL(path.resolve(module)))

const AT_A_TIME = 8
const PER_REQUEST = 74

const hashes = fs.readFileSync(file, 'utf8').split('\n').filter(Boolean)
const batches = []
for (let at = 0; at < hashes.length; at += PER_REQUEST) {
  batches.push(hashes.slice(at, at + PER_REQUEST))
}

const scrape = (announce, infoHash) => new Promise((resolve, reject) => {
  Client.scrape({ announce, infoHash: infoHash.map(each => Buffer.from(each, 'hex')) }, (error, found) => error ? reject(error) : resolve(found))
})

const print = (found, batch) => {
  // For one torrent it is that torrent's counts.
  const lines = batch.map(infoHash => {
    const counts = batch.length === 1 ? found : found[infoHash]
    return `${infoHash} ${counts.complete} ${counts.downloaded} ${counts.incomplete}\n`
  })
  process.stdout.write(lines.join(''))
}

const ask = async (announce, waiting) => {
  for (let batch = waiting.pop(); batch; batch = waiting.pop()) {
    print(await scrape(announce, batch), batch)
  }
}

await Promise.all(trackers.flatMap(announce => {
  const waiting = batches.slice()
  return Array.from({ length: AT_A_TIME }, () => ask(announce, waiting))
}))
process.exit()
