// A Node server under socket activation: listens on descriptor 3, and on SIGTERM goes as Node's
// documentation suggests. It knows nothing of handovers.
'use strict';
const http = require('node:http');

// An idle connection is let be this long after SIGTERM: its next request may be under way.
const IDLE_MS = 1000;

let leaving = false;

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    let body = Buffer.from('hello\n');
    if (request.url === '/pid') body = Buffer.from(String(process.pid));
    if (request.url === '/echo') body = Buffer.concat(chunks);
    const answer = () => {
      if (leaving) response.setHeader('Connection', 'close');
      response.setHeader('Content-Length', body.length);
      response.end(body);
    };
    if (request.url === '/slow') setTimeout(answer, 300);
    else answer();
  });
});

server.keepAliveTimeout = 60000;

// Stops listening at once. Node 19 and later close idle connections with it, which would cut a
// client off whose next request is under way; the lower `net.Server.close` does not.
const stopListening = require('node:net').Server.prototype.close;

process.on('SIGTERM', () => {
  leaving = true;
  stopListening.call(server);
  setInterval(() => server.closeIdleConnections(), IDLE_MS);
  server.getConnections((error, count) => { if (count === 0) process.exit(0); });
  server.on('close', () => process.exit(0));
});

server.listen({ fd: 3 });
