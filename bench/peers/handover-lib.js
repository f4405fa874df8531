// Peers of the npm package handover-lib, one for each port, as the benchmark's processes speak:
// `handover-lib.js old|young FIRST_PORT COUNT`.
//
// A line on standard input: announce. Standard error says "ready" once all sockets are bound, then
// "announced PORT NANOSECONDS" and "entered PORT NANOSECONDS" by the monotonic clock. Standard output is
// the package's log.
'use strict';

const role = process.argv[2];
const first = Number(process.argv[3]);
const count = Number(process.argv[4]);

// The package keeps its sockets to itself, and joins the group when the one that receives is bound.
const dgram = require('node:dgram');
const create = dgram.createSocket;
let bound = 0;
dgram.createSocket = (...options) => {
  const socket = create(...options);
  socket.on('listening', () => {
    // The socket that sends is bound too, later, by its first datagram.
    bound += 1;
    if (bound === count) setImmediate(() => process.stderr.write('ready\n'));
  });
  return socket;
};

const { HandoverPeer } = require('handover-lib');

const now = () => process.hrtime.bigint();
const say = (word, port, at) => process.stderr.write(`${word} ${port} ${at}\n`);

const startedAt = new Date();
const peers = [];
for (let port = first; port < first + count; port += 1) {
  process.env.SHUTDOWN_PORT = String(port);
  const peer = new HandoverPeer(startedAt, { id: `${role}-${port}` });
  peer.startListening(async () => {
    say('entered', port, now());
  });
  peers.push([port, peer]);
}

// One after the other, so that none waits for the event loop while the others announce.
const PAUSE_MS = 5;
const announce = (index) => {
  if (index === peers.length) return;
  const [port, peer] = peers[index];
  const at = now();
  peer.startBroadcasting();
  say('announced', port, at);
  setTimeout(announce, PAUSE_MS, index + 1);
};

process.stdin.on('data', () => announce(0));
process.stdin.on('end', () => process.exit(0));
