import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openDataDirectory } from '../../../../examples/order-payment/run/data-directory.ts'
import { findInputFiles } from '../../../../examples/order-payment/run/files.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'concordat-data-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const BUNDLED = { orders: undefined, accounts: undefined, stock: undefined }
const precious = 'precious'

it.each([
  ['database/file', 'database'],
  ['pg/file', 'pg'],
  ['draft.tmp', 'draft.tmp'],
  ['notes.txt', 'notes.txt'],
])('the example refuses a folder with a foreign %s, and leaves it unchanged', async (path, named) => {
  const file = join(folder, path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, precious)
  await utimes(file, 0, 0)
  const opening = openDataDirectory(folder, await findInputFiles(BUNDLED))
  await expect(opening).rejects.toThrow(`holds "${named}", which does not belong to a data directory`)
  expect(await readFile(file, 'utf8')).toBe(precious)
})

it('the example refuses a folder whose manifest has another format', async () => {
  for (const text of ['{"name":"my web app"}', 'no JSON', 'null']) {
    await writeFile(join(folder, 'manifest.json'), text)
    await mkdir(join(folder, 'database'), { recursive: true })
    await writeFile(join(folder, 'database', 'file'), precious)
    await expect(openDataDirectory(folder, await findInputFiles(BUNDLED))).rejects.toThrow('was created with another')
    expect(await readFile(join(folder, 'database', 'file'), 'utf8')).toBe(precious)
    expect(await readFile(join(folder, 'manifest.json'), 'utf8')).toBe(text)
  }
})

it('the example takes a folder in which one of its own was killed: a database without a manifest, a lock of a dead process, half a manifest', async () => {
  const half = join(folder, 'manifest.json.0f8fad5b-d9cb-469f-a165-70867728950e.tmp')
  const files = await findInputFiles(BUNDLED)
  await (await openDataDirectory(folder, files)).close()
  await rm(join(folder, 'manifest.json'))
  await writeFile(join(folder, 'database', 'lock'), '999999999 12345')
  await writeFile(half, '')
  const { parts, close } = await openDataDirectory(folder, files)
  expect((await parts.sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  expect((await readdir(folder)).toSorted()).toEqual(['database', 'manifest.json'])
  await close()
}, 60_000)
