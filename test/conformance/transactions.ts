/**
 * Guarantees of every kind of transaction, for every path of its commands. A kind is one row of the table that calls
 * this (`test/saga/support/kinds.ts`): its binding, and its effects in the ledger. Cases that do not apply to a kind
 * are left out by name, with the reason.
 */
import type { Headers } from 'concordat/binder'
import type { Coordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import type { CrashWorld } from '../saga/support/crash-world.ts'
import type { Operation } from '../support/inside/saga.ts'
import { STRIDE } from '../support/suite/night.ts'

/** Effects of one saga: reserved, and final. An effect made twice counts twice. */
export interface Account {
  readonly held: number
  readonly done: number
}

export const NOTHING: Account = { held: 0, done: 0 }
export const DONE: Account = { held: 0, done: 1 }

export type CommandDemand = 'idempotent' | 'empty' | 'late' | 'unknown'
/** `commands`: all of `CommandDemand`, for the participant of the form. */
export type Demand = CommandDemand | 'commands' | 'taken over' | 'stuck in confirm' | 'stuck in cancel'

/** Cases that a kind must pass, and the reason for each that does not apply. */
export interface Asked {
  readonly name: string
  readonly without?: Readonly<Partial<Record<Demand, string>>> | undefined
}

export interface CommandedKind extends Asked {
  /** True: its effect is final only when it is confirmed. */
  readonly confirms: boolean
  /** Headers of a command that name this kind, and headers that name another. */
  readonly header: Headers
  readonly otherHeader: Headers
}

export interface CommandedWorld {
  /** Delivers one command of a saga. @returns the answers: `ok`, `refused saga.cancelled`, `failed final ...` */
  readonly send: (id: string, operation: Operation, headers: Headers) => Promise<readonly string[]>
  readonly account: (id: string) => Promise<Account>
}

/** A case that does not apply to this kind is no test: a skipped one fails `.ci/run`. */
function demand({ without }: Asked, what: Demand, title: string, work: () => Promise<void>): void {
  if (without?.[what] === undefined) test(`${what}: ${title}`, work)
}

/** Tests a participant of any kind with commands that are duplicated, alone, late or sent to the wrong kind. */
export function commandConformance(kind: CommandedKind, { send, account }: CommandedWorld): void {
  const { header, otherHeader, confirms } = kind
  let ids = 0
  const fresh = (): string => `${kind.name.replaceAll(/\W/g, '-')}-${++ids}`
  const twice = async (id: string, operation: Operation): Promise<void> => {
    for (const _ of [1, 2]) expect(await send(id, operation, header), `${operation} of ${id}`).toEqual(['ok'])
  }

  describe(`commands to ${kind.name}`, () => {
    demand(kind, 'idempotent', 'a command that comes again is answered again, and done once', async () => {
      const id = fresh()
      await twice(id, 'invoke')
      if (confirms) await twice(id, 'confirm')
      expect(await send(id, 'invoke', header)).toEqual(['ok'])
      expect(await account(id)).toEqual(DONE)
      const other = fresh()
      await twice(other, 'invoke')
      await twice(other, 'compensate')
      expect(await account(other)).toEqual(NOTHING)
    })

    demand(kind, 'empty', 'what was never done is undone by doing nothing', async () => {
      const id = fresh()
      await twice(id, 'compensate')
      expect(await account(id)).toEqual(NOTHING)
    })

    demand(kind, 'late', 'what comes after it was undone is refused', async () => {
      const id = fresh()
      await send(id, 'compensate', header)
      for (const _ of [1, 2]) expect(await send(id, 'invoke', header)).toEqual(['refused saga.cancelled'])
      expect(await account(id)).toEqual(NOTHING)
    })

    demand(
      kind,
      'unknown',
      'what is meant for another kind, or was never begun, is never done in silence',
      async () => {
        const id = fresh()
        expect(await send(id, 'confirm', header)).toEqual([
          confirms ? 'failed final saga.not_reserved' : 'failed final saga.wrong_participant',
        ])
        const other = fresh()
        expect(await send(other, 'invoke', otherHeader)).toEqual(['refused saga.wrong_participant'])
        const third = fresh()
        await send(third, 'invoke', header)
        for (const operation of ['compensate', 'confirm'] as const) {
          expect(await send(third, operation, otherHeader)).toEqual(['failed final saga.wrong_participant'])
        }
        if (confirms) await twice(third, 'confirm')
        expect(await Promise.all([id, other, third].map(account))).toEqual([NOTHING, NOTHING, DONE])
      },
    )
  })
}

/** `gave up`: compensated by itself, which only happens to a transaction in code whose process has ended. */
export type Fate = 'done' | 'undone' | 'stuck'

/** A saga or a global transaction with one piece of work of the kind in it. */
export interface Form extends Asked {
  /** True: its code is not called again, so a dead process may mean that all is undone. */
  readonly mayGiveUp: boolean
  readonly sagaName: string
  /**
   * Runs the saga from the beginning, or from where another process left it, until it ends or is stuck. @param refused
   * it turns back after the work
   */
  readonly run: (coordinator: Coordinator, id: string, refused: boolean) => Promise<Fate>
}

export interface FormWorld {
  readonly world: CrashWorld
  readonly account: (id: string) => Promise<Account>
  /** Makes `confirm` or `cancel` of the kind fail permanently while true. */
  readonly broken: { confirm: boolean; cancel: boolean }
  /** State still kept for this saga until it is decided: prepared transactions, images and row locks. */
  readonly kept: (id: string) => Promise<readonly string[]>
}

const BY = { by: 'ann', reason: 'asked the participant' }
/** Fewest statements and commits of one run: fewer crash points would show little. */
const FEWEST_DEATHS = 6

/** Tests a transaction whose coordinators die, and one whose participant cannot continue. */
export function formConformance(form: Form, { world, account, broken, kept }: FormWorld): void {
  const prefix = form.name.replaceAll(/\W/g, '-')
  let ids = 0

  const seen = new Set<Fate | undefined>()

  async function outlived(n: number, when: 'before' | 'after', refused: boolean): Promise<boolean> {
    const id = `${prefix}-${refused ? 'refused' : 'decided'}-${when}-${n}`
    let fate: Fate | undefined
    const died = await world.dieAt(n, when, {
      first: (coordinator) => form.run(coordinator, id, refused),
      second: async (coordinator) => void (fate = await form.run(coordinator, id, refused)),
    })
    const fates: readonly Fate[] = refused ? ['undone'] : form.mayGiveUp ? ['done', 'undone'] : ['done']
    expect(fates, id).toContain(fate)
    seen.add(fate)
    expect(await account(id), id).toEqual(fate === 'done' ? DONE : NOTHING)
    expect(await kept(id), id).toEqual([])
    return !died
  }

  /** Runs a saga that cannot end, until an operator finds it among the stuck ones. */
  async function stuck(
    what: 'confirm' | 'cancel',
    act: (coordinator: Coordinator, run: { readonly saga: string; readonly id: string }) => Promise<unknown>,
  ): Promise<Fate> {
    const id = `${prefix}-stuck-${++ids}`
    const refused = what === 'cancel'
    broken[what] = true
    const process = await world.boot(world.sql)
    const { coordinator } = process
    try {
      expect(await form.run(coordinator, id, refused), id).toBe('stuck')
      const run = { saga: form.sagaName, id }
      const listed = await coordinator.list({ saga: form.sagaName, status: 'stuck' })
      expect(listed.map((line) => line.id)).toContain(id)
      await act(coordinator, run)
      return await form.run(coordinator, id, refused)
    } finally {
      broken[what] = false
      await process.end()
    }
  }

  describe(form.name, () => {
    for (const when of ['before', 'after'] as const) {
      for (const refused of [false, true]) {
        const what = refused ? 'nothing, when it turned back' : 'all or nothing, when it was decided'
        const title = `who coordinates dies ${when} any statement or commit, and the next one makes of it ${what}`
        demand(form, 'taken over', title, async () => {
          // A death before a statement leaves what one after the statement before it does: odd ones of both reach all states.
          let n = 1
          while (!(await outlived(n, when, refused))) n += STRIDE
          expect(n).toBeGreaterThan(FEWEST_DEATHS)
          expect(seen).toContain(refused ? 'undone' : 'done')
        })
      }
    }

    for (const [what, end, left] of [
      ['confirm', 'done', DONE],
      ['cancel', 'undone', NOTHING],
    ] as const) {
      demand(
        form,
        `stuck in ${what}`,
        'an operator sees it, and frees it by `retry` once the cause is gone',
        async () => {
          const fate = await stuck(what, async (coordinator, run) => {
            broken[what] = false
            await coordinator.retry(run, BY)
          })
          const id = `${prefix}-stuck-${ids}`
          expect([fate, await account(id), await kept(id)]).toEqual([end, left, []])
        },
      )
      demand(
        form,
        `stuck in ${what}`,
        'an operator ends it by `skip` or `resolve` while the cause is there',
        async () => {
          expect(await stuck(what, (coordinator, run) => coordinator.skip(run, BY))).toBe(end)
          const outcome = end === 'done' ? 'completed' : 'compensated'
          expect(await stuck(what, (coordinator, run) => coordinator.resolve(run, { ...BY, outcome }))).toBe(end)
        },
      )
    }
  })
}
