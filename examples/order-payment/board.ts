/**
 * The board: every instance keeps a line in shared state with the number of messages it has handled, and the progress
 * output shows the lines. The numbers are approximate: a killed instance may lack its last quarter of a second, and
 * the lines do not change while the store is down. Neither affects the orders.
 */
import type { Binder } from 'concordat/binder'
import type { SharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/extension'
import type { ServiceEnvironment } from './environment.ts'
import { type BoardLine, openBoard } from './shared-state.ts'

const WRITE_EVERY_MS = 250
const LAST_WRITE_MS = 500

/** Writes the line of this instance until closed. */
export function keepBoardLine(
  { cluster, instance, logger }: Pick<ServiceEnvironment, 'cluster' | 'instance' | 'logger'>,
  binder: Binder,
): { close(): Promise<void> } {
  const line = new Line(openBoard(cluster), instance, binder)
  const write = (signal?: AbortSignal): Promise<void> =>
    line.write(signal).catch((error: unknown) => logger.debug({ err: error }, 'the board cannot be written'))
  let writing = Promise.resolve()
  const timer = setInterval(() => {
    writing = writing.then(() => write())
  }, WRITE_EVERY_MS)
  return {
    close: async () => {
      clearInterval(timer)
      await writing
      await write(AbortSignal.timeout(LAST_WRITE_MS))
      await line.close()
    },
  }
}

class Line {
  readonly #board: SharedState<BoardLine>
  readonly #instance: string
  readonly #binder: Binder
  /** Messages that earlier processes of this instance handled. */
  #before: number | undefined
  #written = -1

  constructor(board: SharedState<BoardLine>, instance: string, binder: Binder) {
    this.#board = board
    this.#instance = instance
    this.#binder = binder
  }

  async write(signal: AbortSignal | undefined): Promise<void> {
    // Counts the bindings with a group; messages that every instance receives are not work.
    const groups = this.#binder.bindings().filter(({ group }) => group !== null)
    const handled = groups.reduce((sum, binding) => sum + binding.handled, 0)
    if (handled === this.#written) return
    this.#before ??= (await this.#board.get(this.#instance, { signal })).value?.handled ?? 0
    await this.#board.put(this.#instance, { handled: this.#before + handled }, { signal })
    this.#written = handled
  }

  close(): Promise<void> {
    return this.#board.close()
  }
}

/** Reads all lines into one text. @returns `undefined` when there are no lines or the store does not answer */
export async function boardText(cluster: ClusterStore): Promise<string | undefined> {
  const board = openBoard(cluster)
  try {
    const { entries } = await board.entries('', { signal: AbortSignal.timeout(LAST_WRITE_MS) })
    if (entries.length === 0) return undefined
    return `Messages handled: ${entries.map(({ key, value }) => `${key} ${value.handled}`).join(', ')}.`
  } catch {
    return undefined
  } finally {
    await board.close()
  }
}

/** Local copy of the lines of all instances, kept up to date. */
export class BoardView {
  readonly #board: SharedState<BoardLine>
  readonly #closing = new AbortController()
  #lines: () => readonly string[] = () => []

  constructor(cluster: ClusterStore) {
    this.#board = openBoard(cluster)
    void this.#follow()
  }

  /** Lines such as `payments-1 120` of the instances whose name begins with `prefix`. */
  lines(prefix = ''): readonly string[] {
    return this.#lines().filter((line) => line.startsWith(prefix))
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#board.close()
  }

  /** Shows no lines until the store answers. */
  async #follow(): Promise<void> {
    try {
      const mirror = await this.#board.mirror({ signal: this.#closing.signal })
      this.#lines = () => mirror.entries().flatMap(({ key, value }) => (value ? [`${key} ${value.handled}`] : []))
    } catch {
      // Closed before the store answered.
    }
  }
}
