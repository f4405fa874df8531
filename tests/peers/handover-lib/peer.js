// A service on the real handover-lib: peer.js [STARTED_AT_MS]
//
// Says what happens as one JSON object a line. Listens, then is ready and announces. It never ends
// by itself, as the package wants it (a restart policy would revive it).
'use strict';

const { HandoverPeer } = require('handover-lib');

const say = (event, more) => console.log(JSON.stringify({ event, ...more }));

const startedAt = process.argv[2] ? new Date(Number(process.argv[2])) : new Date();
const peer = new HandoverPeer(startedAt);

peer.startListening(async () => {
    say('callback', { status: 'stopping' });
});

const socket = peer.heartbeatClientSocket;
// The package closes this socket last, after it has written its file.
socket.on('close', () => say('complete'));
// Its own handler comes first and joins the group.
socket.on('listening', () => setImmediate(() => {
    say('started', { started_ms: startedAt.valueOf() });
    peer.startBroadcasting();
    say('announced');
}));

// The package leaves nothing that keeps Node alive once it is done.
setInterval(() => {}, 1 << 30);
