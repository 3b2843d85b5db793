import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { findBinary } from './binaries.ts'
import { runCommand } from './command.ts'

/** Sparse: it takes the space of the written data. */
const SIZE_BYTES = 4 * 1024 ** 3
const FREE_WITHIN_MS = 10_000
const TOOLS = ['mkfs.ext4', 'mount', 'umount', 'perl'] as const
/**
 * `EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`, as the crash tests of Linux file systems use it: from now on nothing reaches the disk,
 * including the journal in memory.
 */
const SHUT_DOWN =
  'open(my $f, "<", $ARGV[0]) or die $!; my $flags = pack("L", 2); ioctl($f, 0x8004587D, $flags) or die $!'
/**
 * Ends the mount when the process that made it has ended, however it died. The watchdog of the server, which works in the same
 * folder, ends the server first.
 */
const GUARD = `
read -r _ && exit 0
i=0
until umount -- "$1" || [ $i -ge 100 ]; do i=$((i + 1)); sleep 0.1; done
umount -l -- "$1"
rm -rf -- "$2"
`

/** Why this machine has no such disks; undefined when it has. */
export function lossyDiskLack(): string | undefined {
  const why = 'a disk that can lose what was not synced needs'
  if (process.platform !== 'linux') return `${why} Linux`
  if (process.getuid?.() !== 0 || !existsSync('/dev/loop-control')) return `${why} root and loop devices`
  const missing = TOOLS.filter((name) => findBinary(name, ['/sbin', '/usr/sbin']) === undefined)
  return missing.length === 0 ? undefined : `${why} ${missing.join(', ')}`
}

/**
 * A file system (ext4, its usual settings) in a file, whose power can fail: then writes that were not synced are lost, unless
 * the kernel had written them to the disk by itself. Those are kept, as by a disk without a volatile cache.
 */
export class LossyDisk implements AsyncDisposable {
  /** For the data of one server. */
  readonly folder: string
  readonly #base: string
  readonly #guard: ChildProcessByStdio<Writable, null, null>

  private constructor(base: string) {
    this.#base = base
    this.folder = join(base, 'disk')
    const args = ['-c', GUARD, 'guard', this.folder, base]
    this.#guard = spawn('sh', args, { cwd: '/', stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    this.#guard.unref()
    if (this.#guard.stdin instanceof Socket) this.#guard.stdin.unref()
  }

  /** @throws Error naming what is missing, see `lossyDiskLack` */
  static async create(): Promise<LossyDisk> {
    const lack = lossyDiskLack()
    if (lack !== undefined) throw new Error(lack)
    const base = mkdtempSync(join(tmpdir(), 'concordat-disk-'))
    chmodSync(base, 0o755)
    const disk = new LossyDisk(base)
    try {
      mkdirSync(disk.folder)
      writeFileSync(disk.#image, '')
      truncateSync(disk.#image, SIZE_BYTES)
      await disk.#run('mkfs.ext4', '-q', '-F', disk.#image)
      await disk.#mount()
      return disk
    } catch (error) {
      await disk[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Everything that exists at this time is kept. */
  async sync(): Promise<void> {
    await this.#run('sync', '-f', this.folder)
  }

  /**
   * Fails the power and gives it back. No process may use the folder any more.
   * @returns files that had lost something when the power was back, by their paths in the folder
   */
  async losePower(): Promise<readonly string[]> {
    const before = contentOf(this.folder)
    await this.#run('perl', '-e', SHUT_DOWN, this.folder)
    await this.#unmount()
    await this.#mount()
    const after = contentOf(this.folder)
    return [...before]
      .filter(([path, digest]) => after.get(path) !== digest)
      .map(([path]) => relative(this.folder, path))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unmount().catch(() => {})
    await rm(this.#base, { recursive: true, force: true })
    this.#guard.stdin.end('\n')
  }

  get #image(): string {
    return join(this.#base, 'image')
  }

  #mount(): Promise<void> {
    return this.#run('mount', '-o', 'loop', this.#image, this.folder)
  }

  /** Processes that were killed may hold it for a moment. */
  async #unmount(): Promise<void> {
    const deadline = performance.now() + FREE_WITHIN_MS
    for (;;) {
      try {
        return await this.#run('umount', this.folder)
      } catch (error) {
        if (performance.now() > deadline) throw error
        await sleep(50)
      }
    }
  }

  #run(name: string, ...args: readonly string[]): Promise<void> {
    return runCommand({ file: findBinary(name, ['/sbin', '/usr/sbin']) ?? name, args }, '/')
  }
}

/** Digest of each file below the folder. */
function contentOf(folder: string): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [path, createHash('sha1').update(readFileSync(path)).digest('hex')]
    }),
  )
}
