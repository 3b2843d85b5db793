/** A process with the given number of watchers, each with a store of its own, like that number of services. */
import { createSharedState } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'
import { endWithParent, sharedNow } from '../processes.ts'
import { STATE, type WatchReport, type Written } from './watched.ts'

const [url = '', prefix = '', watchers = ''] = process.argv.slice(2)
endWithParent()
const report = (what: WatchReport): void => void process.send?.(what)
const count = Number(watchers)
let delaysMs: number[] = []
let finished = 0
let begun = 0

for (let i = 0; i < count; i++) {
  const state = createSharedState<Written>({ ...STATE, store: redisStateStore({ url, prefix }) })
  state.watch((event) => {
    if (event.type === 'snapshot') {
      if (event.reason !== 'first') process.exit(3)
      if (++begun === count) report({ did: 'ready' })
      return
    }
    const now = sharedNow()
    for (const { value } of event.changes) {
      if (value === undefined) continue
      delaysMs.push(now - value.at)
      if (value.last) finished++
    }
    if (finished < count) return
    report({ did: 'done', delaysMs, endedAt: now })
    delaysMs = []
    finished = 0
  })
}
