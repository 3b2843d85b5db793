/**
 * Is a history linearizable: can every operation be given one moment between its call and its return, so that a
 * sequential object would have answered the same?
 *
 * The search of Wing and Gong, with Lowe's cache of configurations seen (as in Porcupine): operations are tried in the
 * order of their calls, taken back when one that has returned cannot be placed. Exact: a cache hit compares the whole
 * configuration, so a "not linearizable" is a proof and a "linearizable" comes with the order found.
 *
 * An operation with an unknown outcome returns at infinity: it may have happened at any moment after its call, or
 * never. Cost: exponential in how many operations overlap, so keep a history to a few hundred operations of one key and
 * ten or so at a time. At the time limit the verdict is `unknown`, which a test counts as a failure.
 */
export interface Operation<Action> {
  readonly process: string
  /** Call and answer; the model interprets an unknown outcome. */
  readonly action: Action
  readonly invokedAt: number
  /** `Infinity`: the outcome is unknown. */
  readonly returnedAt: number
}

/** A sequential object. States are values: `step` changes nothing. */
export interface Model<State, Action> {
  readonly name: string
  readonly initial: State
  /** The state after `action` with the answer it got, or `undefined` when the object could not have answered so. */
  step(state: State, action: Action): State | undefined
  /** Equal for equal states, different for different ones. */
  key(state: State): string
}

export type Verdict<Action> =
  | { readonly verdict: 'linearizable'; readonly order: readonly Operation<Action>[] }
  | {
      readonly verdict: 'not linearizable'
      /** The longest order found, the state it leads to, and the operation that fits nowhere after it. */
      readonly order: readonly Operation<Action>[]
      readonly state: string
      readonly stuck: Operation<Action>
    }
  | { readonly verdict: 'unknown'; readonly reason: string }

export interface CheckOptions {
  /** @default 10 seconds */
  readonly timeoutMs?: number | undefined
}

const LOOK_AT_CLOCK_EVERY = 4_096

export function checkLinearizable<State, Action>(
  model: Model<State, Action>,
  operations: readonly Operation<Action>[],
  options: CheckOptions = {},
): Verdict<Action> {
  const disordered = operations.find(({ invokedAt, returnedAt }) => !(invokedAt <= returnedAt))
  if (disordered !== undefined) throw new RangeError(`returned before it was called: ${JSON.stringify(disordered)}`)
  return new Search(model, operations).run(performance.now() + (options.timeoutMs ?? 10_000))
}

/** Several objects are linearizable when each of them is: the first verdict that is not "linearizable", with its key. */
export function checkEach<State, Action>(
  model: Model<State, Action>,
  operations: readonly Operation<Action>[],
  keyOf: (action: Action) => string,
  options?: CheckOptions,
): { readonly key: string; readonly verdict: Verdict<Action> } | undefined {
  for (const [key, own] of Map.groupBy(operations, ({ action }) => keyOf(action))) {
    const verdict = checkLinearizable(model, own, options)
    if (verdict.verdict !== 'linearizable') return { key, verdict }
  }
  return undefined
}

/** A configuration: which operations are placed, and the state they lead to. */
interface Configuration {
  /** The first word of the bit set that is not all ones; the words before it need no keeping. */
  readonly from: number
  readonly words: Uint32Array
  readonly state: string
}

class Search<State, Action> {
  readonly #model: Model<State, Action>
  /** Operations in the order of their calls. */
  readonly #operations: readonly Operation<Action>[]
  /**
   * The calls and returns not placed yet, in the order of time, as a list: `next` and `previous` of a node; 0 is the head.
   * A node is an event; `operationAt` its operation, `returnOf` the node of its return: 0 for none, -1 for a return.
   */
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #operationAt: Int32Array
  readonly #returnOf: Int32Array
  readonly #placed: Uint32Array
  readonly #seen = new Map<number, Configuration[]>()
  readonly #stack: Array<{ readonly node: number; readonly state: State }> = []
  #placedHash = 0
  #state: State
  #open: number
  #best: { readonly order: readonly Operation<Action>[]; readonly state: string; readonly stuck: number } | undefined

  constructor(model: Model<State, Action>, operations: readonly Operation<Action>[]) {
    this.#model = model
    this.#state = model.initial
    this.#operations = operations.toSorted((a, b) => a.invokedAt - b.invokedAt)
    this.#open = operations.filter(returns).length
    this.#placed = new Uint32Array(Math.ceil(operations.length / 32))
    const events = this.#events()
    const size = events.length + 1
    this.#next = new Int32Array(size)
    this.#previous = new Int32Array(size)
    this.#operationAt = new Int32Array(size)
    this.#returnOf = new Int32Array(size)
    const callNode = new Int32Array(operations.length)
    events.forEach(({ operation, isReturn }, index) => {
      const node = index + 1
      this.#operationAt[node] = operation
      this.#previous[node] = index
      this.#next[index] = node
      if (isReturn) {
        this.#returnOf[node] = -1
        this.#returnOf[at(callNode, operation)] = node
      } else callNode[operation] = node
    })
  }

  run(deadline: number): Verdict<Action> {
    let node = at(this.#next, 0)
    for (let steps = 1; this.#open > 0; steps += 1) {
      if (steps % LOOK_AT_CLOCK_EVERY === 0 && performance.now() > deadline) return this.#gaveUp(steps)
      const isCall = node !== 0 && this.#returnOf[node] !== -1
      if (isCall) {
        node = this.#place(node) ? at(this.#next, 0) : at(this.#next, node)
        continue
      }
      this.#remember(node)
      const last = this.#stack.pop()
      if (last === undefined) return this.#failed()
      node = this.#takeBack(last)
    }
    return { verdict: 'linearizable', order: this.#order() }
  }

  /** Calls before returns at one moment: operations that touch count as overlapping. */
  #events(): ReadonlyArray<{ readonly operation: number; readonly isReturn: boolean }> {
    const events = this.#operations.flatMap((operation, index) => {
      const call = { at: operation.invokedAt, operation: index, isReturn: false }
      return returns(operation) ? [call, { at: operation.returnedAt, operation: index, isReturn: true }] : [call]
    })
    return events.sort((a, b) => a.at - b.at || Number(a.isReturn) - Number(b.isReturn))
  }

  /** Places the operation called at `node` next, unless the model refuses or the outcome was seen before. */
  #place(node: number): boolean {
    const index = at(this.#operationAt, node)
    const state = this.#model.step(this.#state, this.#operation(index).action)
    if (state === undefined) return false
    this.#flip(index)
    if (!this.#isNew(this.#model.key(state))) {
      this.#flip(index)
      return false
    }
    this.#stack.push({ node, state: this.#state })
    this.#state = state
    this.#unlink(node)
    return true
  }

  /**
   * @returns where to continue: after the operation that was undone
   */
  #takeBack({ node, state }: { readonly node: number; readonly state: State }): number {
    this.#state = state
    this.#flip(at(this.#operationAt, node))
    this.#relink(node)
    return at(this.#next, node)
  }

  #unlink(node: number): void {
    this.#bridge(node)
    const end = at(this.#returnOf, node)
    if (end === 0) return
    this.#bridge(end)
    this.#open -= 1
  }

  #relink(node: number): void {
    const end = at(this.#returnOf, node)
    if (end !== 0) {
      this.#restore(end)
      this.#open += 1
    }
    this.#restore(node)
  }

  #bridge(node: number): void {
    const [before, after] = [at(this.#previous, node), at(this.#next, node)]
    this.#next[before] = after
    if (after !== 0) this.#previous[after] = before
  }

  #restore(node: number): void {
    const [before, after] = [at(this.#previous, node), at(this.#next, node)]
    this.#next[before] = node
    if (after !== 0) this.#previous[after] = node
  }

  #flip(index: number): void {
    const word = index >>> 5
    this.#placed[word] = at(this.#placed, word) ^ (1 << (index & 31))
    this.#placedHash ^= scramble(index + 1)
  }

  #isNew(state: string): boolean {
    const hash = this.#placedHash ^ hashText(state)
    const words = this.#placed
    let from = 0
    while (from < words.length && words[from] === 0xffff_ffff) from += 1
    let end = words.length
    while (end > from && words[end - 1] === 0) end -= 1
    const alike = this.#seen.get(hash)
    const same = alike?.some((each) => {
      if (each.from !== from || each.words.length !== end - from || each.state !== state) return false
      return each.words.every((word, index) => word === words[from + index])
    })
    if (same === true) return false
    const configuration = { from, words: words.slice(from, end), state }
    if (alike === undefined) this.#seen.set(hash, [configuration])
    else alike.push(configuration)
    return true
  }

  #remember(node: number): void {
    if (this.#best !== undefined && this.#best.order.length >= this.#stack.length) return
    this.#best = { order: this.#order(), state: this.#model.key(this.#state), stuck: at(this.#operationAt, node) }
  }

  #order(): readonly Operation<Action>[] {
    return this.#stack.map(({ node }) => this.#operation(at(this.#operationAt, node)))
  }

  #operation(index: number): Operation<Action> {
    return this.#operations[index] as Operation<Action>
  }

  #failed(): Verdict<Action> {
    const best = this.#best
    if (best === undefined) return { verdict: 'unknown', reason: 'nothing was tried' }
    return { verdict: 'not linearizable', order: best.order, state: best.state, stuck: this.#operation(best.stuck) }
  }

  #gaveUp(steps: number): Verdict<Action> {
    const size = `${this.#operations.length} operations, ${this.#open} not placed`
    return { verdict: 'unknown', reason: `out of time after ${steps} steps (${size}, model "${this.#model.name}")` }
  }
}

function returns({ returnedAt }: Operation<unknown>): boolean {
  return returnedAt !== Number.POSITIVE_INFINITY
}

function at(array: Int32Array | Uint32Array, index: number): number {
  return array[index] as number
}

/** A well-spread number for each index, always the same: the hash of a set is the exclusive or of its members'. */
function scramble(index: number): number {
  let mixed = Math.imul(index, 0x9e37_79b1)
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  return mixed ^ (mixed >>> 16)
}

function hashText(text: string): number {
  let hash = 0x811c_9dc5
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193)
  return hash
}
