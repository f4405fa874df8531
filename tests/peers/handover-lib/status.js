// Status datagrams of handover-lib 0.2.3, which the registry does not serve, written from the
// description of the wire:
//
//   status.js read
//   status.js send NAME STARTED_AT_MS ADDRESS,... UP|DOWN
//
// 120 bytes: version 2; start time, big endian, milliseconds; name, 63 bytes; ten IPv4 addresses;
// status, 8 bytes. Texts are UTF-8 with NUL behind.
'use strict';

const dgram = require('node:dgram');

const GROUP = process.env.HANDOVER_STATUS_BROADCAST_ADDRESS || '239.192.16.16';
const PORT = Number(process.env.HANDOVER_STATUS_PORT || 1537);
const LENGTH = 120;
const VERSION = 2;

const say = (event, more) => console.log(JSON.stringify({ event, ...more }));

const text = (bytes) => {
    const end = bytes.indexOf(0);
    return new TextDecoder('utf-8', { fatal: true }).decode(end < 0 ? bytes : bytes.subarray(0, end));
};

const decode = (datagram) => {
    if (datagram.length !== LENGTH) throw new Error(`${datagram.length} bytes`);
    if (datagram[0] !== VERSION) throw new Error(`version ${datagram[0]}`);
    const addresses = [];
    for (let at = 72; at < 112; at += 4) {
        const address = datagram.subarray(at, at + 4).join('.');
        if (address !== '0.0.0.0') addresses.push(address);
    }
    return {
        started_ms: Number(datagram.readBigInt64BE(1)),
        name: text(datagram.subarray(9, 72)),
        addresses,
        status: text(datagram.subarray(112)),
    };
};

const encode = (name, startedMs, addresses, status) => {
    const datagram = Buffer.alloc(LENGTH);
    datagram[0] = VERSION;
    datagram.writeBigInt64BE(BigInt(startedMs), 1);
    datagram.write(name, 9, 63);
    addresses.forEach((address, index) => {
        address.split('.').forEach((part, at) => { datagram[72 + 4 * index + at] = Number(part); });
    });
    datagram.write(status, 112, 8);
    return datagram;
};

const read = () => {
    const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    socket.on('message', (datagram, from) => {
        try {
            say('status', { from: from.address, hex: datagram.toString('hex'), ...decode(datagram) });
        } catch (error) {
            say('malformed', { why: error.message });
        }
    });
    socket.bind(PORT, () => {
        socket.addMembership(GROUP);
        say('reading');
    });
};

const send = (name, startedMs, addresses, status) => {
    const socket = dgram.createSocket('udp4');
    const datagram = encode(name, startedMs, addresses.split(','), status);
    const once = () => socket.send(datagram, PORT, GROUP);
    once();
    setInterval(once, status === 'UP' ? 10_000 : 100);
};

const [, , what, ...more] = process.argv;
if (what === 'read') read();
else if (what === 'send') send(...more);
else throw new Error('status.js read | send NAME STARTED_AT_MS ADDRESSES STATUS');
