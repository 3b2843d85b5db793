import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { embedded } from 'concordat/embedded'
import { postgresLocks } from 'concordat/postgres'
import { createService } from 'concordat/service'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'
import { LazyDatabase, ownLock, placeOf } from './inside.ts'

const KILLS = 5
const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), groups: ['g'] })

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'concordat-embedded-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

describe('embedded', () => {
  it('is a whole service in memory: messages, transactions, leaders', async () => {
    const got: number[] = []
    let led = 0
    const shop = createService({
      name: 'shop',
      ...embedded(),
      bindings: [sink(numbers, { group: 'g', once: true }, ({ n }) => void got.push(n))],
      sends: [numbers],
      leads: { books: async (term) => void (led = term.token) },
    })
    onTestFinished(() => shop.close())
    await shop.start()
    await shop.ready()
    await shop.transaction((tx) => tx.send(numbers, { n: 1 }))
    await shop.send(numbers, { n: 2 })
    await until('both came, and it leads', () => got.length === 2 && led > 0)
    expect(got.toSorted((a, b) => a - b)).toEqual([1, 2])
  })

  it('keeps sent messages in its folder, for the next process, and lets only one process use it', async () => {
    const dataDir = await folder()
    const first = createService({ name: 'shop', ...embedded({ dataDir }), sends: [numbers] })
    await first.start()
    await first.send(numbers, { n: 7 })
    const second = embedded({ dataDir })
    await expect(second.sql.query('SELECT 1')).rejects.toMatchObject({ code: 'embedded.in_use' })
    await first.close()
    const got: number[] = []
    const third = createService({
      name: 'shop',
      ...embedded({ dataDir }),
      bindings: [sink(numbers, { group: 'g' }, ({ n }) => void got.push(n))],
    })
    await third.start()
    await until('it is there', () => got.length === 1)
    await third.close()
    expect(got).toEqual([7])
  }, 60_000)

  it('shared by several services is closed by the last of them', async () => {
    const database = embedded()
    const got: number[] = []
    const sender = createService({ name: 'sender', schema: 'sender', ...pick(database), sends: [numbers] })
    const reader = createService({
      name: 'reader',
      schema: 'reader',
      ...pick(database),
      bindings: [sink(numbers, { group: 'g' }, ({ n }) => void got.push(n))],
    })
    await sender.start()
    await reader.start()
    await sender.send(numbers, { n: 1 })
    await sender.close()
    await until('it came after the sender was gone', () => got.length === 1)
    await reader.close()
  })

  it('that is closed while it opens in vain is opened once by the statements behind', async () => {
    const opens: Array<PromiseWithResolvers<never>> = []
    const lazy = new LazyDatabase(true, () => {
      const opening = Promise.withResolvers<never>()
      opens.push(opening)
      return opening.promise
    })
    const first = lazy.sql.query('SELECT 1')
    const closing = lazy.close()
    const second = lazy.sql.query('SELECT 1')
    opens[0]?.reject(new Error('in use (made by the test)'))
    await expect(first).rejects.toThrow('in use')
    await closing
    const third = lazy.sql.query('SELECT 1')
    const database = freshPglite()
    opens[1]?.resolve({ database, close: () => database.close() } as never)
    expect(await Promise.all([second, third])).toMatchObject([{ rowCount: 1 }, { rowCount: 1 }])
    expect(opens).toHaveLength(2)
    await lazy.close()
    expect(database.closed).toBe(true)
  })

  it('is closed by `await using` of its locks', async () => {
    const dataDir = await folder()
    const identity = { service: 's', instance: 'i', logger: silentLogger, telemetry: undefined }
    {
      const { locks, sql } = embedded({ dataDir })
      await using held = locks(identity)
      await postgresLocks({ sql }).migrate()
      expect(await held.list()).toEqual([])
      await sql.query('SELECT 1')
    }
    await expect(readdir(dataDir)).resolves.not.toContain('lock')
  })

  it.for(['in a folder', 'in memory'] as const)(
    'closes %s although a transaction never ends, which then writes nothing',
    { timeout: 60_000 },
    async (where) => {
      const dataDir = where === 'in memory' ? undefined : await folder()
      const database = embedded({ dataDir })
      const locks = database.locks({ service: 'shop', instance: 'shop-1', logger: silentLogger, telemetry: undefined })
      await database.sql.query('CREATE TABLE written (n int)')
      const [begun, mayContinue] = [gate(), gate()]
      const hanging = database.sql.transaction(async (tx) => {
        await tx.query('INSERT INTO written VALUES (1)')
        begun.open()
        await mayContinue.opened
        await tx.query('INSERT INTO written VALUES (2)')
      })
      await begun.opened
      await locks.close()
      const next = embedded({ dataDir })
      const nextLocks = next.locks({ service: 'shop', instance: 'shop-2', logger: silentLogger, telemetry: undefined })
      if (dataDir !== undefined) expect((await next.sql.query('SELECT * FROM written')).rows).toEqual([])
      mayContinue.open()
      if (dataDir !== undefined) {
        await expect(hanging).rejects.toMatchObject({ code: 'embedded.lost' })
        expect((await next.sql.query('SELECT * FROM written')).rows).toEqual([])
      } else await hanging
      await nextLocks.close()
    },
  )

  it('touches nothing in a folder of another program', async () => {
    for (const foreign of ['pg/PG_VERSION', 'PG_VERSION', 'notes.txt', 'lock', 'concordat', 'draft.tmp']) {
      const dataDir = await folder()
      await mkdir(dirname(join(dataDir, foreign)), { recursive: true })
      await writeFile(join(dataDir, foreign), '17')
      await expect(embedded({ dataDir }).sql.query('SELECT 1'), foreign).rejects.toMatchObject({
        code: 'embedded.foreign',
        message: expect.stringContaining('give embedded() an empty folder'),
      })
      expect(await readFile(join(dataDir, foreign), 'utf8')).toBe('17')
    }
  })

  it('rejects when its folder cannot be made', async () => {
    const dataDir = await folder()
    await writeFile(join(dataDir, 'file'), '')
    // Nothing can be created below /proc, and a recursive `mkdir` never returns.
    for (const unusable of ['/proc/none/here', join(dataDir, 'file'), join(dataDir, 'file', 'below')]) {
      await expect(embedded({ dataDir: unusable }).sql.query('SELECT 1'), unusable).rejects.toMatchObject({
        code: 'embedded.unusable',
        message: expect.stringContaining(`"${unusable}" cannot be used as a folder (E`),
      })
    }
  })

  it('takes a folder with the lock of a dead process, and deletes its half-written files', async () => {
    const dataDir = await folder()
    const half = 'concordat-0f8fad5b-d9cb-469f-a165-70867728950e.tmp'
    const lock = await ownLock(await placeOf(dataDir), '0f8fad5b-d9cb-469f-a165-70867728950e')
    await writeFile(join(dataDir, 'lock'), lock.replace(/^\d+/, '999999999'))
    await writeFile(join(dataDir, half), '')
    await utimes(join(dataDir, half), 0, 0)
    const { sql, locks } = embedded({ dataDir })
    expect((await sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    const entries = (await readdir(dataDir)).filter((entry) => !entry.endsWith('.sock'))
    expect(entries.toSorted()).toEqual(['concordat', 'lock', 'pg'])
    await locks({ instance: 'i', service: 's', logger: silentLogger, telemetry: undefined }).close()
    expect((await readdir(dataDir)).toSorted(), 'closed, it leaves nothing behind').toEqual(['concordat', 'pg'])
  }, 60_000)

  it('makes a database again that a killed process had half made', async () => {
    const dataDir = await folder()
    const first = embedded({ dataDir })
    await first.sql.query('SELECT 1')
    await first.locks({ instance: 'i', service: 's', logger: silentLogger, telemetry: undefined }).close()
    await writeFile(join(dataDir, 'concordat'), 'begun')
    await rm(join(dataDir, 'pg/PG_VERSION'))
    const again = embedded({ dataDir })
    expect((await again.sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    await again.locks({ instance: 'i', service: 's', logger: silentLogger, telemetry: undefined }).close()
  }, 60_000)

  it('refuses unknown options', () => {
    expect(() => embedded({ dataDirectory: 'x' } as object)).toThrow('embedded.dataDirectory: expected one of dataDir')
    expect(() => embedded({ dataDir: '' })).toThrow('embedded.dataDir')
  })

  it('killed at any moment, continues where it was: no accepted number is lost, none is counted twice', async () => {
    const dataDir = await folder()
    const accepted = new Set<number>()
    let counted: readonly number[] = []
    for (let life = 0; life <= KILLS; life++) {
      const isLast = life === KILLS
      const child = start(dataDir, isLast ? 'counts' : String(life))
      let more = 2 + 3 * life
      await new Promise<void>((resolve, reject) => {
        child.on('message', (message: { accepted?: number; counted?: readonly number[] }) => {
          if (message.counted !== undefined) counted = message.counted
          if (message.accepted !== undefined) {
            accepted.add(message.accepted)
            if (more-- === 0) child.kill('SIGKILL')
          }
          if (isLast && [...accepted].every((n) => counted.includes(n))) child.kill('SIGKILL')
        })
        child.on('exit', (code) => (code === null ? resolve() : reject(new Error(`it ended by itself: ${code}`))))
      })
    }
    expect(accepted.size).toBeGreaterThan(10)
    expect(new Set(counted).size, 'none twice').toBe(counted.length)
    expect(
      [...accepted].filter((n) => !counted.includes(n)),
      'none lost',
    ).toEqual([])
  }, 120_000)
})

/** The getter of the transport gives each service its own. */
function pick({ sql, transport, locks }: ReturnType<typeof embedded>) {
  return { sql, transport, locks }
}

function start(dataDir: string, life: string): ChildProcess {
  const file = fileURLToPath(new URL('support/counter.ts', import.meta.url))
  return spawn(process.execPath, ['--conditions', 'concordat-source', file, dataDir, life], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
