/** Candidate in a process of its own: campaigns on command, hands over on SIGTERM. */
import { createElection } from 'concordat/election'
import { redisLocks } from 'concordat/redis'
import { endWithParent, sharedNow } from '../processes.ts'

export interface CandidateReport {
  readonly did: 'ready' | 'granted'
  /** Instant on the clock that all processes share. */
  readonly at: number
  readonly term?: number
}

const [url = '', prefix = '', role = '', ttlMs = ''] = process.argv.slice(2)
endWithParent()
const report = (what: CandidateReport): void => void process.send?.(what)
const locks = redisLocks({ url, prefix })
const election = createElection({
  locks,
  role,
  ttlMs: Number(ttlMs),
  onGranted: (term) => report({ did: 'granted', at: sharedNow(), term: term.term }),
})

process.once('SIGTERM', () => {
  election
    .close()
    .then(() => locks.close())
    .then(
      () => process.disconnect(),
      (error: unknown) => {
        throw error
      },
    )
})
process.once('message', () => election.start())
report({ did: 'ready', at: sharedNow() })
