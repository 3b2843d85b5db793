/** Invariants of an election, a membership and a shared state under all faults. */
export const ELECTION_INVARIANTS = {
  'terms rise': 'a term is higher than every term that was over before its leader campaigned; none is given twice',
  'accepted in order':
    'the terms of the writes that a sink accepted never fall, and no term is cut in two: one acts at a time',
  'sink agrees': 'every write acknowledged is in the ledger, none refused is, and a refused one met a newer term',
  'one leads': 'no two believe to lead at the same time',
  linearizable: 'the history is one of a lock with tokens that frees itself not before the ttl is over',
  'revoked in time': 'a term ends at its deadline, later only by as much as the event loop stood still',
  alternate: 'granted and revoked alternate; a term begins after the handlers of the last one have ended',
  'leadership goes on': 'somebody leads and writes within a ttl and a second of the end of the fault',
  'hand-over is prompt': 'a leader that resigned or was terminated is replaced at once, not by a heartbeat or a ttl',
  'released is free': 'when all is over the lock can be had, within a ttl of the last leader at most',
  'no orphans':
    'two ttls after the end nothing is left of the lock but fencing counters, and tombstones and notes that expire',
  'members agree': 'every watcher hears the same transitions in the same order, each once, and misses none',
  'members in order': 'a member joins, is suspected and recovers, is dead or has left for good: never another way',
  'the dead are told':
    'everybody who lives hears that one that was killed is dead, and one that was terminated has left',
  'an outage kills nobody': 'members that live are not declared dead because the store was away',
  'state is linearizable':
    'reads, writes, compare-and-set and deletes of each shared key are those of one versioned register',
  'state is heard': 'every watcher hears every change of the state once, in order, or a snapshot in its place',
  'no stray errors': 'no rejection is unhandled, no process ends by itself',
} as const

export type ElectionInvariant = keyof typeof ELECTION_INVARIANTS
