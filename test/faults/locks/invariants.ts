/** Invariants of a lock under all faults, judged from the history of an episode and the ledger of the sink. */
export const LOCK_INVARIANTS = {
  'tokens rise':
    'a grant has a higher token than every grant that was over before it was asked for; none is given twice',
  'accepted in order': 'the tokens of the writes that the sink accepted never fall, and no holding is cut in two',
  'sink agrees': 'every write acknowledged is in the ledger, none refused is, and a refused one met a newer token',
  'one believes': 'no two holders believe in the lock at the same time (readers, permits: no more than may)',
  linearizable: 'the history is one of a lock with tokens that frees itself not before the ttl is over',
  'lost is lost': 'a lease that was lost is never held again, and no check of it passes',
  'lost in time': 'the loss is signalled at the deadline, later only by as much as the event loop stood still',
  'released is free': 'when all is over the lock can be had, within a ttl of the last holder at most',
  'grants go on': 'there is a grant within a ttl and a second of the end of the fault',
  'nobody starves': 'everybody who lives is served in bounded time; where connections live, nobody is overtaken',
  'no wake-up is lost': 'where connections live, a release is followed by a grant at once if somebody waits',
  'no orphans':
    'two ttls after the end nothing is left in Redis but fencing counters, and tombstones and notes that expire',
  'no stray errors': 'no rejection is unhandled, no process ends by itself',
} as const

export type LockInvariant = keyof typeof LOCK_INVARIANTS
