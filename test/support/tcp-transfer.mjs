// Sends pseudo-random bytes over TCP, or takes them, and prints their SHA-256: `listen PORT`, `send HOST PORT BYTES`.
import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';

const [role, ...args] = process.argv.slice(2);
const hash = createHash('sha256');

if (role === 'listen') {
  const server = createServer((socket) => {
    socket.on('data', (data) => hash.update(data));
    socket.on('end', () => {
      process.stdout.write(`received ${hash.digest('hex')}\n`);
      socket.end();
      server.close();
    });
  });
  server.listen(Number(args[0]), () => process.stdout.write('listening\n'));
} else {
  const [host, port, bytes] = args;
  const data = randomBytes(Number(bytes));
  const socket = connect(Number(port), host, () => socket.end(data));
  socket.resume();
  socket.on('close', () => process.stdout.write(`sent ${hash.update(data).digest('hex')}\n`));
}
