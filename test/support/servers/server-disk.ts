import { type Preloaded, preload } from './preloaded.ts'

/**
 * The disk of a private PostgreSQL, to be filled and emptied while it runs. Its data files cannot grow while it is full
 * (53100): writes within existing files still succeed, and so does WAL, so the server continues.
 *
 *     const disk = await serverDisk()
 *     const server = await startServer('postgres', { env: disk.env })
 *     disk.fill()
 */
export interface ServerDisk extends Pick<Preloaded, 'env' | 'dispose'>, Disposable {
  fill(): void
  makeRoom(): void
}

/** @throws Error naming what is missing, see `preloadLack` */
export async function serverDisk(): Promise<ServerDisk> {
  const library = await preload('server-disk', 'SERVER_DISK_FILE', Uint8Array.of(0))
  return {
    env: library.env,
    fill: () => library.write(Uint8Array.of(1)),
    makeRoom: () => library.write(Uint8Array.of(0)),
    dispose: () => library.dispose(),
    [Symbol.dispose]: () => library.dispose(),
  }
}
