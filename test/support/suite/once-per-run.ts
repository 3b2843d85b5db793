/** Expensive values that several test files need: made once in a run, by the first file that asks, in any worker. */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from 'concordat/core'
import { inject } from 'vitest'
import { until } from '../until.ts'

const LIMIT_MS = 120_000

/**
 * @param make fills the empty folder
 * @returns the folder, filled; to be read only
 * @throws what `make` threw, for each that asks
 */
export async function oncePerRun(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(inject('runFolder'), name)
  const verdict = `${folder}.made`
  const isFirst = await mkdir(folder).then(
    () => true,
    (error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error
      return false
    },
  )
  if (isFirst) {
    await writeFile(`${verdict}.part`, await make(folder).then(() => '', String))
    await rename(`${verdict}.part`, verdict)
  }
  await until(`${name} is made by another worker`, () => existsSync(verdict), LIMIT_MS)
  const failure = await readFile(verdict, 'utf8')
  if (failure !== '') throw new Error(`${name} could not be made: ${failure}`)
  return folder
}
