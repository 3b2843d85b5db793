/** The client of `java/Main.java` as a child process. It ends when its input does. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { lastLines } from '../../../test/support/servers/command.ts'
import type { Burst, Ran } from '../../serve.ts'
import { ACCOUNTS, type Banks, CONNECTIONS } from '../banks.ts'
import type { Programs } from './programs.ts'
import { jdbcUrl } from './store.ts'

export type Mode = 'at' | 'tcc'

/** Result of a burst without the CPU time, which the processes do not count themselves. */
export interface ClientRan extends Omit<Ran, 'cpuUs'> {
  /** Times that a transfer was rolled back, most of them for a row that another one held, and made again. */
  readonly refused: number
}

export class SeataClient implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #closed: Promise<unknown>
  #said = ''

  /** @throws when a rollback did not undo, a commit did not hold, or it cannot work at all: then nothing is to be measured */
  static async start(programs: Programs, mode: Mode, banks: Banks, server: string): Promise<SeataClient> {
    const client = new SeataClient(programs, mode, banks, server)
    try {
      await client.#line('ready')
    } catch (error) {
      await client[Symbol.asyncDispose]()
      throw error
    }
    return client
  }

  private constructor({ java, client }: Programs, mode: Mode, banks: Banks, server: string) {
    const flags = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=error', `-Dservice.default.grouplist=${server}`]
    const args = [...flags, ...client, 'bench.Main', mode, String(CONNECTIONS), String(ACCOUNTS)]
    const { username, password } = new URL(banks.north)
    const env = {
      ...process.env,
      NORTH: jdbcUrl(banks.north),
      SOUTH: jdbcUrl(banks.south),
      DATABASE_USER: decodeURIComponent(username),
      DATABASE_PASSWORD: decodeURIComponent(password),
    }
    this.#child = spawn(java, args, { env })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.on('data', (bytes: Buffer) => {
      this.#said = `${this.#said}${bytes.toString()}`.slice(-4_000)
    })
    this.#closed = once(this.#child, 'close')
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  get pid(): number {
    const { pid } = this.#child
    if (pid === undefined) throw new Error('the client of Seata did not start')
    return pid
  }

  /** Answers when all transfers have ended and the second phase of each is through. */
  async run({ atOnce, rampMs, countedMs, atLeast }: Burst): Promise<ClientRan> {
    this.#child.stdin.write(`${[atOnce, rampMs, countedMs, atLeast].join(' ')}\n`)
    return JSON.parse(await this.#line('ran ')) as ClientRan
  }

  /** Waits for the next line with `prefix` and returns the text after it. */
  async #line(prefix: string): Promise<string> {
    for (let next = await this.#lines.next(); !next.done; next = await this.#lines.next()) {
      if (next.value.startsWith(prefix)) return next.value.slice(prefix.length)
    }
    await this.#closed
    throw new Error(`the client of Seata ended before it said "${prefix.trim()}": ${lastLines(this.#said)}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }
}
