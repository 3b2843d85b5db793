/** Drives a store step by step, so that the answers of two can be compared. */
import type { ClusterStore } from 'concordat/extension'
import fc from 'fast-check'
import type { CommitOperation, Generation } from '../inside/election.ts'

const key = fc.constantFrom('a', 'b c', 'ü', '}')
const instance = fc.constantFrom('x', 'y/1 ü')
const guess = fc.integer({ min: -1, max: 4 })

const operation = fc.record({
  kind: fc.constantFrom('put', 'put', 'delete', 'check'),
  key,
  guess,
  json: fc.jsonValue({ maxDepth: 1 }).map((value) => JSON.stringify(value)),
  boundTo: fc.option(fc.nat(3), { nil: undefined, freq: 3 }),
})
export const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      operations: fc.uniqueArray(operation, { minLength: 1, maxLength: 3, selector: (one) => one.key }),
      /** 0: a new request; above: the last one again, as this attempt. */
      attempt: fc.constantFrom(0, 0, 0, 1, 2, 3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('join' as const), instance, again: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), instance, forget: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('beat' as const), instance, old: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('describe' as const), instance, sequence: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('changes' as const), guess, limit: fc.integer({ min: 1, max: 3 }) }),
  },
)
export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/**
 * Drives one store; numbers revisions and generations in the order of their appearance, so that two stores can be
 * compared.
 */
export class Driver {
  readonly #store: ClusterStore
  readonly #id: { readonly cluster: string; readonly state: string }
  readonly #seen: number[] = []
  readonly #generations: Generation[] = []
  readonly #joins = new Map<string, string>()
  #request: Parameters<ClusterStore['commit']>[0] | undefined
  #ids = 0

  constructor(store: ClusterStore, cluster: string) {
    this.#store = store
    this.#id = { cluster, state: 's' }
  }

  async take(one: Step): Promise<unknown> {
    return this.#plain(await this.#perform(one))
  }

  async end(): Promise<unknown> {
    const { cluster } = this.#id
    const { records } = await this.#store.read(this.#id)
    const members = await this.#store.members(cluster)
    const logs = await Promise.all(
      [this.#id, { cluster, state: undefined }].map((log) => this.#store.changes(log, 0, 1_000)),
    )
    const byKey = (a: object, b: object): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
    return this.#plain({ records: [...records].sort(byKey), members: [...members.records].sort(byKey), logs })
  }

  async #perform(one: Step): Promise<unknown> {
    const { cluster } = this.#id
    switch (one.do) {
      case 'commit': {
        const isNew = this.#request === undefined || one.attempt === 0
        if (isNew) this.#request = this.#newRequest(one.operations.map((each) => this.#operation(each)))
        return this.#store.commit({ ...this.#request, attempt: one.attempt || 1 } as never)
      }
      case 'join': {
        const joinId = (one.again ? this.#joins.get(one.instance) : undefined) ?? this.#newId()
        this.#joins.set(one.instance, joinId)
        const timing = { suspectAfterMs: 600_000, deadAfterMs: 1_200_000 }
        const request = { cluster, instance: one.instance, joinId, json: '{"service":"s"}', ...timing }
        const reply = await this.#store.join(request)
        if (reply.status === 'joined') this.#generations.push({ ...reply, instance: one.instance })
        return reply
      }
      case 'leave':
        return this.#store.leave(cluster, one.instance, this.#joins.get(one.instance) ?? 'none', one.forget)
      case 'beat': {
        const own = this.#generations.filter((each) => each.instance === one.instance)
        const { generation } = (one.old ? own[0] : own.at(-1)) ?? { generation: 7 }
        return this.#store.beat(cluster, one.instance, generation, 600_000)
      }
      case 'describe': {
        const generation = this.#generations.findLast((each) => each.instance === one.instance)?.generation ?? 7
        const { sequence } = one
        const json = `{"n":${sequence}}`
        return this.#store.describe({ cluster, instance: one.instance, generation, sequence, json })
      }
      case 'changes':
        return this.#store.changes(this.#id, this.#version(one.guess) ?? 0, one.limit)
      default:
        return one satisfies never
    }
  }

  #newRequest(operations: CommitOperation[]): Parameters<ClusterStore['commit']>[0] {
    const kept = { since: 0, keepChanges: 12, keepDeletedMs: 600_000 }
    return { id: this.#id, operations, requestId: this.#newId(), attempt: 1, ...kept }
  }

  #operation(one: { kind: string; key: string; guess: number; json: string; boundTo?: number | undefined }) {
    const ifVersion = this.#version(one.guess)
    if (one.kind === 'check') return { kind: 'check' as const, key: one.key, ifVersion: ifVersion ?? 0 }
    if (one.kind === 'delete') return { kind: 'delete' as const, key: one.key, ifVersion }
    const bound = one.boundTo === undefined ? undefined : this.#generations.at(-1 - one.boundTo)
    const boundTo = bound && { instance: bound.instance, generation: bound.generation }
    return { kind: 'put' as const, key: one.key, ifVersion, json: one.json, boundTo }
  }

  #version(guess: number): number | undefined {
    return guess < 0 ? undefined : guess === 0 ? 0 : (this.#seen.at(-guess) ?? 0)
  }

  #newId(): string {
    return `id-${++this.#ids}`
  }

  #plain(value: unknown): unknown {
    const text = JSON.stringify(value ?? null, (name, part: unknown) => {
      if (name === 'joinedAt') return 'some time'
      // The memory store has `boundTo: undefined`, Redis leaves it out; an entry of a log is compared by its content.
      if (name === 'requestId') return undefined
      if (typeof part !== 'number' || part < 1e12) return part
      if (!this.#seen.includes(part)) this.#seen.push(part)
      return `#${this.#seen.indexOf(part)}`
    })
    return JSON.parse(text)
  }
}
