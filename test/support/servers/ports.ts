import { createServer } from 'node:net'

/** Below the range from which the system picks the ports of outgoing connections (32768 on Linux). */
const FIRST = 12_000
const LAST = 32_000
const TRIES = 50

/**
 * A free port on 127.0.0.1, at random.
 *
 * Never one of the system's own choosing: while a killed server is down, an outgoing connection could take such a
 * port, or a client that reconnects to it could even connect to itself, and the server would not come back.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
    if (await isFree(port)) return port
  }
  throw new Error(`no free port found between ${FIRST} and ${LAST} in ${TRIES} tries`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
