/** Plays one workload with one defect put back, or with none, in a process of its own. Started by `play.ts`. */
import { isPlayed } from './defect.ts'
import { DEFECTS } from './defects.ts'
import { loadPatched } from './loading.ts'
import type { Asked } from './play.ts'

async function play({ defect: name, workload: asked, from, count }: Asked): Promise<void> {
  const defect = name === undefined ? undefined : DEFECTS[name]
  const requireLoaded = loadPatched(defect !== undefined && isPlayed(defect) ? defect.patches : [])
  // The package is loaded by these: not before.
  const { Databases } = await import('../databases.ts')
  const { find } = await import('../mistakes.ts')
  const { WORKLOADS } = await import('../workloads.ts')
  const workload = WORKLOADS[asked]
  if (workload === undefined) throw new RangeError(`no workload "${asked}"`)
  const databases = new Databases()
  const found = await find(workload, undefined, { from, count }, await databases.of(asked, workload))
  requireLoaded()
  await databases.close()
  process.send?.({ found })
}

process.once('message', (asked: Asked) => void play(asked).finally(() => process.disconnect()))
