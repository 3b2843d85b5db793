export const BINDER_INVARIANTS = {
  'nothing is lost': 'each message whose send resolved was handled, and so was the output that it led to',
  'none early': 'no delayed message is handled before it is due, and none is tried again before its retry is',
  'in order':
    'of each key, no message is begun before all earlier ones were handled: what comes again may repeat a suffix, never skip',
  'one at a time': 'two of one key never run at once, unless one is in a process that was cut off from its broker',
  'repeats at faults':
    'what was handled comes again only when something was broken since it first began, or its sender sent it again',
  'places go forward':
    'PostgreSQL: what a group has settled in a partition is never written back to less, by one that has lost its place',
  'once with its place':
    'PostgreSQL: what a handler wrote in the transaction that wrote its place is there once for each message that was sent',
  'same id': 'what comes again, and what it leads to, has the id it had',
  'all come back': 'after the fault every binding runs and every sender gets its messages accepted',
  'no process fails': 'no unhandled rejection, no process that ended by itself',
} as const

export type BinderInvariant = keyof typeof BINDER_INVARIANTS
