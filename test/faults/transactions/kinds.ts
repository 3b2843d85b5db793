/**
 * `--kind`: the transactions that a run makes. A kind is a row; its needs of a bank are a row of `BRANCHES` in
 * `bank.ts`.
 */

/** Ways in which a bank keeps a request until it is decided. */
export type BranchKind = 'tcc' | 'xa' | 'undo'

/** A way to move money: coordinated by a saga or by code, and each bank's kind of participation. */
export interface Way {
  readonly by: 'saga' | 'code'
  readonly withdraw: BranchKind
  readonly deposit: BranchKind
}

export interface Kind {
  readonly ways: readonly Way[]
}

const way = (by: Way['by'], withdraw: BranchKind, deposit: BranchKind): Way => ({ by, withdraw, deposit })
const TCC = [way('saga', 'tcc', 'tcc')]
const XA = [way('saga', 'xa', 'xa')]
const UNDO = [way('saga', 'undo', 'undo')]
const CODE = [way('code', 'tcc', 'tcc'), way('code', 'xa', 'xa'), way('code', 'undo', 'undo'), way('code', 'tcc', 'xa')]
const BOTH = [way('saga', 'tcc', 'xa'), way('saga', 'xa', 'tcc'), way('saga', 'tcc', 'undo'), way('saga', 'undo', 'xa')]

export const KINDS = {
  mixed: { ways: [...TCC, ...XA, ...UNDO, ...BOTH, ...CODE] },
  tcc: { ways: TCC },
  xa: { ways: XA },
  code: { ways: CODE },
  undo: { ways: UNDO },
} as const satisfies Readonly<Record<string, Kind>>

export type KindName = keyof typeof KINDS

export function uses(name: KindName, branch: BranchKind): boolean {
  return KINDS[name].ways.some(({ withdraw, deposit }) => withdraw === branch || deposit === branch)
}
