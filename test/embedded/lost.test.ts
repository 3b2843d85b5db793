import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { embedded } from 'concordat/embedded'
import { createService } from 'concordat/service'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'

const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), groups: ['g'] })

it('a folder that another process has taken is no longer written to, and its service is down', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'concordat-lost-'))
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const parts = embedded({ dataDir })
  const { sql, locks } = parts
  const service = createService({
    name: 'shop',
    sql,
    locks,
    transport: parts.transport,
    logger: silentLogger,
    bindings: [sink(numbers, { group: 'g' }, () => {})],
    sends: [numbers],
  })
  await service.start()
  await service.ready()
  await sql.query('CREATE TABLE t (n int)')
  const inside = sql.transaction(async (tx) => {
    await writeFile(join(dataDir, 'lock'), 'of somebody else')
    for (;;) await tx.query('INSERT INTO t VALUES (1)').then(() => pause(5))
  })
  await expect(inside).rejects.toMatchObject({ code: 'embedded.lost' })
  await expect(sql.query('SELECT 1')).rejects.toMatchObject({ code: 'embedded.lost', dataDir })
  await expect(service.send(numbers, { n: 1 })).rejects.toThrow()
  await until('it is down', () => service.health().status === 'down' && !service.health().ready)
  const before = await readFile(join(dataDir, 'pg/global/pg_control'))
  await service.close()
  expect(await readFile(join(dataDir, 'lock'), 'utf8')).toBe('of somebody else')
  expect(await readFile(join(dataDir, 'pg/global/pg_control')), 'no checkpoint at the end').toEqual(before)
}, 60_000)
