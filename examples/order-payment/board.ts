/**
 * The board: every instance keeps a line in shared state with how many messages it has handled, and the operator's screen
 * shows them all. Something to look at, not the books: a killed instance may be short of its last quarter of a second, and
 * without the store the lines stand still while everything else goes on.
 */
import type { Binder } from 'concordat/binder'
import type { SharedState } from 'concordat/cluster'
import type { ClusterStore } from 'concordat/cluster/store'
import type { ServiceEnvironment } from './environment.ts'
import { type BoardLine, openBoard } from './shared-state.ts'

const WRITE_EVERY_MS = 250
const LAST_WRITE_MS = 500

/** Keeps the line of this instance until closed. */
export function keepBoardLine(
  { cluster, instance, logger }: Pick<ServiceEnvironment, 'cluster' | 'instance' | 'logger'>,
  binder: Binder,
): { close(): Promise<void> } {
  const line = new Line(openBoard(cluster), instance, binder)
  const write = (signal?: AbortSignal): Promise<void> =>
    line.write(signal).catch((error: unknown) => logger.debug({ err: error }, 'the board is not to be had'))
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
  /** What the processes before this one have handled. */
  #before: number | undefined
  #written = -1

  constructor(board: SharedState<BoardLine>, instance: string, binder: Binder) {
    this.#board = board
    this.#instance = instance
    this.#binder = binder
  }

  async write(signal: AbortSignal | undefined): Promise<void> {
    // The work of a group; what every instance hears is not work.
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

/** All lines as they stand, in one; `undefined` when there are none to be had. */
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

/** What the operator sees: a copy that follows the lines of all instances. */
export class BoardView {
  readonly #board: SharedState<BoardLine>
  readonly #closing = new AbortController()
  #lines: () => readonly string[] = () => []

  constructor(cluster: ClusterStore) {
    this.#board = openBoard(cluster)
    void this.#follow()
  }

  /** `payments-1 120`, those whose name begins with `prefix`. */
  lines(prefix = ''): readonly string[] {
    return this.#lines().filter((line) => line.startsWith(prefix))
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#board.close()
  }

  /** The screen stays empty while there is no store. */
  async #follow(): Promise<void> {
    try {
      const mirror = await this.#board.mirror({ signal: this.#closing.signal })
      this.#lines = () => mirror.entries().flatMap(({ key, value }) => (value ? [`${key} ${value.handled}`] : []))
    } catch {
      // Closed before the store had answered.
    }
  }
}
