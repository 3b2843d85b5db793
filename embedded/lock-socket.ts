/**
 * A socket in the folder that accepts connections as long as its process lives. The kernel accepts them itself, even for a
 * process that is busy, stopped or in a paused container, and refuses them as soon as the process is dead. This works across pid
 * and network namespaces, so containers can ask each other. Another kernel always refuses.
 *
 * Linux only, where containers run: an address has at most 107 bytes, and `/proc/self/fd` makes it short.
 */
import { closeSync, openSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { hasCode } from '../core/errors.ts'

export const socketName = (id: string): string => `concordat-${id}.sock`

/** @returns a function that closes it; undefined if the system or the file system has no such sockets */
export async function openSocket(directory: string, id: string): Promise<(() => Promise<void>) | undefined> {
  const folder = openFolder(directory)
  if (folder === undefined) return undefined
  // The connection itself is the answer.
  const server = createServer((connection) => connection.destroy())
  if (!(await listens(server, addressOf(folder, id)))) {
    closeSync(folder)
    return undefined
  }
  server.unref()
  return async () => {
    await new Promise<void>((resolve) => server.close(() => resolve()))
    closeSync(folder)
  }
}

/** `refused`: no process on this kernel listens. `unknown`: there is no such socket, or access is denied. */
export async function askSocket(directory: string, id: string): Promise<'taken' | 'refused' | 'unknown'> {
  const folder = openFolder(directory)
  if (folder === undefined) return 'unknown'
  try {
    return await new Promise((resolve) => {
      const connection = connect({ path: addressOf(folder, id) }, () => {
        connection.destroy()
        resolve('taken')
      })
      connection.on('error', (error) => {
        // EAGAIN: the owner listens, and its queue of connections is full.
        if (hasCode(error, 'EAGAIN')) resolve('taken')
        else resolve(hasCode(error, 'ECONNREFUSED') ? 'refused' : 'unknown')
      })
    })
  } finally {
    closeSync(folder)
  }
}

function openFolder(directory: string): number | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    return openSync(directory, 'r')
  } catch {
    return undefined
  }
}

function addressOf(folder: number, id: string): string {
  return `/proc/self/fd/${folder}/${socketName(id)}`
}

function listens(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    // Exclusive: in a worker of `node:cluster` the primary would listen for it, and outlive it.
    server.listen({ path, exclusive: true }, () => resolve(true))
  })
}
