/** The files of a page: a fenced block right after `<!-- file: NAME -->`. They are written into a folder and run as users run them. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const MARKED = /<!-- file: (?<name>\S+) -->\n+```\w+\n(?<code>[\s\S]*?)```/g
const ROOT = join(import.meta.dirname, '../../..')
const NODE = ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source']

export interface Program {
  readonly process: ChildProcess
  /** Sends SIGTERM. @returns the exit code, or the signal by which it ended */
  stop(): Promise<number | NodeJS.Signals | null>
}

export interface PageFiles {
  readonly folder: string
  /**
   * @returns its output, after it has ended @throws when it fails
   */
  run(name: string, ...args: string[]): Promise<{ readonly stdout: string }>
  start(name: string): Program
  remove(): Promise<void>
}

/**
 * @param pages one page, or several whose files belong together
 * @param env of the programs, besides that of this process
 */
export async function writePageFiles(
  pages: string | readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<PageFiles> {
  const texts = await Promise.all([pages].flat().map((page) => readFile(join(ROOT, page), 'utf8')))
  // Inside of the package, so that its files find it by its name.
  const folder = join(ROOT, '.cache', `page-files-${process.pid}-${Date.now()}`)
  for (const { groups } of texts.join('\n').matchAll(MARKED)) {
    const file = join(folder, groups?.['name'] ?? '')
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, groups?.['code'] ?? '')
  }
  const options = { env: { ...process.env, ...env } }
  const started = new Set<ChildProcess>()
  return {
    folder,
    run: (name, ...args) => promisify(execFile)(process.execPath, [...NODE, join(folder, name), ...args], options),
    start: (name) => {
      const child = spawn(process.execPath, [...NODE, join(folder, name)], {
        ...options,
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      started.add(child)
      const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
      return {
        process: child,
        stop: async () => {
          child.kill('SIGTERM')
          const [code, signal] = await ended
          started.delete(child)
          return code ?? signal
        },
      }
    },
    remove: async () => {
      for (const child of started) child.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}
