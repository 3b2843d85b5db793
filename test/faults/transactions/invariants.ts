export const INVARIANTS = {
  'money is constant':
    'at quiescence all databases together hold what they held, nothing is reserved, and each account what its transfers and foreign writers say',
  'each transfer ends once':
    'each one that was begun is completed or compensated, with one end in its timeline; none is stuck',
  'all or nothing': 'a completed transfer left the effects of all its branches, a compensated one those of none',
  'no effect twice': 'no branch was tried, confirmed, cancelled or committed twice, however often it was asked for',
  'no branch without an end': 'no participant knows of a branch that was begun and neither confirmed nor cancelled',
  'nothing is held': 'no transaction is prepared any more, and undo keeps no row lock and no image',
  'no process fails': 'no unhandled rejection, no process that ended by itself',
} as const

export type Invariant = keyof typeof INVARIANTS
