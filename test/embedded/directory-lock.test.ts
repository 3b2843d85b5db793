import { createHash } from 'node:crypto'
import { utimesSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { type Clock, MINUTE, SECOND, systemClock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { until } from '../support/until.ts'
import { type DirectoryLock, lockDirectory, ownLock, type ProcessPlace, placeOf } from './inside.ts'
import { hasContainers, startHolder, startInContainer, startUnderNeglect, untilEnded } from './support/holders.ts'

const NOBODY = 999_999_999
const ID = '0f8fad5b-d9cb-469f-a165-70867728950e'

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'concordat-lock-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Does not wait, and has waited `waitedMs` all the same. */
function quickClock(): Clock & { waitedMs: number } {
  return {
    ...systemClock,
    waitedMs: 0,
    monotonic() {
      return this.waitedMs
    },
    sleep(durationMs) {
      this.waitedMs += durationMs
      return turn()
    },
  }
}

async function lockOf(directory: string, clock: Clock, place?: ProcessPlace): Promise<DirectoryLock> {
  const lock = await lockDirectory(directory, clock, place)
  onTestFinished(() => lock.release())
  return lock
}

/** The view of a process on another kernel, which may or may not be this machine. */
const elsewhere = async (directory: string): Promise<ProcessPlace> => ({
  ...(await placeOf(directory)),
  boot: 'another',
})

async function deadLock(directory: string, id = ID): Promise<string> {
  const text = await ownLock(await placeOf(directory), id)
  return text.replace(/^\d+/, String(NOBODY))
}

describe('the lock of a folder', () => {
  it('is taken at once when its process was killed', async () => {
    const directory = await folder()
    const holder = await startHolder(directory)
    expect(holder.said).toBe('held\n')
    await holder.kill()
    const clock = quickClock()
    await lockOf(directory, clock)
    expect(clock.waitedMs).toBe(0)
  })

  it('is taken at once when its process was killed, although the parent has not reaped it', async () => {
    const directory = await folder()
    const { pid } = await startUnderNeglect(directory)
    process.kill(pid, 'SIGKILL')
    await untilEnded(pid)
    expect(await readFile(`/proc/${pid}/stat`, 'utf8'), 'it is a zombie').toContain(') Z ')
    const clock = quickClock()
    await lockOf(directory, clock)
    expect(clock.waitedMs).toBe(0)
  })

  it('goes to one of many starters that find a dead process', async () => {
    for (let round = 0; round < 20; round++) {
      const directory = await folder()
      await writeFile(join(directory, 'lock'), await deadLock(directory))
      const begin = performance.now()
      const starts = Array.from({ length: 12 }, async () => {
        const at = begin + Math.random() * 4
        while (performance.now() < at) await turn()
        return lockOf(directory, quickClock())
      })
      const outcomes = await Promise.allSettled(starts)
      const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      expect(refusals).toHaveLength(11)
      for (const refusal of refusals) expect(refusal).toMatchObject({ code: 'embedded.in_use', pid: process.pid })
    }
  }, 60_000)

  it('is left to a starter that was quicker', async () => {
    const directory = await folder()
    const { boot } = await placeOf(directory)
    await writeFile(join(directory, 'lock'), (await deadLock(directory)).replace(boot, 'another'))
    const quicker = await ownLock(await placeOf(directory), ID)
    const clock = quickClock()
    const monotonic = (): number => {
      // Between the last check of the dead lock and the claim.
      if (clock.waitedMs === 20 * SECOND) writeFileSync(join(directory, 'lock'), quicker)
      return clock.waitedMs
    }
    const slower = lockDirectory(directory, { ...clock, monotonic, sleep: (ms) => clock.sleep(ms) })
    await expect(slower).rejects.toMatchObject({ code: 'embedded.in_use', pid: process.pid })
    expect(await readFile(join(directory, 'lock'), 'utf8')).toBe(quicker)
  })

  it('stays with a process on another kernel that wakes up as its lock is about to be taken', async () => {
    const directory = await folder()
    const path = join(directory, 'lock')
    await writeFile(path, await deadLock(directory))
    const frozen = await readFile(path, 'utf8')
    const clock = quickClock()
    const monotonic = (): number => {
      // Between the last check of the lock and the claim.
      if (clock.waitedMs === 20 * SECOND) utimesSync(path, new Date(), new Date())
      return clock.waitedMs
    }
    const starter = { ...clock, monotonic, sleep: (ms: number) => clock.sleep(ms) }
    const taking = lockDirectory(directory, starter, await elsewhere(directory))
    await expect(taking).rejects.toMatchObject({ code: 'embedded.in_use', pid: NOBODY })
    expect(await readFile(path, 'utf8')).toBe(frozen)
  })

  it('is taken at once when a starter died that was about to take it', async () => {
    const directory = await folder()
    const text = await deadLock(directory)
    const digest = createHash('sha256').update(text).digest('hex').slice(0, 32)
    await writeFile(join(directory, 'lock'), text)
    await writeFile(join(directory, `concordat-${digest}.claim`), await deadLock(directory, ID.replace('0', '1')))
    const clock = quickClock()
    const lock = await lockOf(directory, clock)
    expect(clock.waitedMs).toBe(0)
    await lock.release()
    expect(await readdir(directory)).toEqual([])
  })

  it('stays with a process of the version before, and is taken from a dead one', async () => {
    const directory = await folder()
    const [pid = '', started = ''] = (await ownLock(await placeOf(directory), ID)).split(' ')
    await writeFile(join(directory, 'lock'), `${pid} ${started}`)
    await expect(lockDirectory(directory, quickClock())).rejects.toMatchObject({ pid: process.pid, host: undefined })
    await writeFile(join(directory, 'lock'), `${NOBODY} ${started}`)
    const clock = quickClock()
    await lockOf(directory, clock)
    // The holder may be alive in another container.
    expect(clock.waitedMs).toBeLessThan(30 * SECOND)
  })

  it('is taken after a power cut that has left it empty', async () => {
    const directory = await folder()
    await writeFile(join(directory, 'lock'), '')
    await lockOf(directory, quickClock())
  })

  it('is taken 20 seconds after its process on another kernel was seen alive', async () => {
    const directory = await folder()
    await writeFile(join(directory, 'lock'), await deadLock(directory))
    const clock = quickClock()
    await lockOf(directory, clock, await elsewhere(directory))
    expect(clock.waitedMs).toBeGreaterThanOrEqual(20 * SECOND)
    expect(clock.waitedMs).toBeLessThan(30 * SECOND)
  })

  it('is taken at once when its process was killed in another pid namespace of this kernel', async () => {
    const directory = await folder()
    const here = await placeOf(directory)
    const dead = await startHolder(directory)
    await dead.kill()
    const text = await readFile(join(directory, 'lock'), 'utf8')
    const waits = async (place: ProcessPlace, lock = text): Promise<number> => {
      await writeFile(join(directory, 'lock'), lock)
      const clock = quickClock()
      await (await lockOf(directory, clock, place)).release()
      return clock.waitedMs
    }
    expect(await waits({ ...here, pidNamespace: 'another' })).toBe(0)
    // A second mount of the same folder has its own sockets.
    expect(await waits({ ...here, pidNamespace: 'another', device: 'another' })).toBeGreaterThanOrEqual(20 * SECOND)
    expect(await waits({ ...here, boot: '-' }, text.replace(here.boot, '-'))).toBeGreaterThanOrEqual(20 * SECOND)
  })

  it('stays with a process on another kernel that is too busy to do anything else', async () => {
    const directory = await folder()
    const { pid } = await startHolder(directory, 'busy')
    await expect(lockDirectory(directory, systemClock, await elsewhere(directory))).rejects.toMatchObject({
      code: 'embedded.in_use',
      pid,
    })
  })

  it('is lost once another process has it, and that one keeps it', async () => {
    const directory = await folder()
    const lock = await lockOf(directory, systemClock)
    expect(lock.isHeld()).toBe(true)
    await writeFile(join(directory, 'lock'), 'of somebody else')
    await until('it has noticed', () => !lock.isHeld())
    await lock.release()
    await lock.release()
    expect(await readFile(join(directory, 'lock'), 'utf8')).toBe('of somebody else')
    await rm(join(directory, 'lock'))
    expect(lock.isHeld()).toBe(false)
  })

  it('is checked before the next write when the process or the machine was stopped', async () => {
    for (const stoodStill of ['monotonic', 'now'] as const) {
      const directory = await folder()
      let passedMs = 0
      const clock = { ...systemClock, [stoodStill]: () => systemClock[stoodStill]() + passedMs }
      const lock = await lockOf(directory, clock)
      await writeFile(join(directory, 'lock'), 'of somebody else')
      passedMs = MINUTE
      expect(lock.isHeld(), stoodStill).toBe(false)
    }
  })
})

describe.skipIf(!hasContainers)('the lock of a folder that containers share (where `unshare` is permitted)', () => {
  it('stays with the process of another container, also when that is paused', async () => {
    const directory = await folder()
    const first = await startInContainer(directory)
    expect(first.said).toBe('held\n')
    const second = await startInContainer(directory)
    expect(second.said).toMatch(/^DataDirectoryError: ".*" is in use by process 1 on host /)
    process.kill(first.pid, 'SIGSTOP')
    await expect(lockDirectory(directory, quickClock())).rejects.toMatchObject({ code: 'embedded.in_use', pid: 1 })
    const third = await startInContainer(directory)
    expect(third.said).toMatch(/^DataDirectoryError/)
  }, 60_000)

  it('is taken at once when the container was killed', async () => {
    const directory = await folder()
    const first = await startInContainer(directory)
    await first.kill()
    const clock = quickClock()
    const lock = await lockOf(directory, clock)
    expect(clock.waitedMs).toBe(0)
    await lock.release()
    expect((await startInContainer(directory)).said).toBe('held\n')
  })
})
