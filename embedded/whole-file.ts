/** Files that are there whole or not at all. */
import { randomUUID } from 'node:crypto'
import { link, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode } from '../core/errors.ts'

/** Replaces what is there. */
export function writeWhole(path: string, text: string): Promise<void> {
  return fromTemporary(path, text, (temporary) => rename(temporary, path))
}

/** @returns false when there is one already, which stays */
export async function createWhole(path: string, text: string): Promise<boolean> {
  try {
    await fromTemporary(path, text, (temporary) => link(temporary, path))
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}

async function fromTemporary(path: string, text: string, move: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `concordat-${randomUUID()}.tmp`)
  try {
    await writeFile(temporary, text)
    await move(temporary)
  } finally {
    await rm(temporary, { force: true })
  }
}
