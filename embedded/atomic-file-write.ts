/** Files that are there whole or not at all. */
import { randomUUID } from 'node:crypto'
import { link, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode } from '../core/errors.ts'

/** Replaces what is there, and is on the disk when it resolves: no failure of power leaves an empty file. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await fromTemporary(path, text, (temporary) => rename(temporary, path))
  await syncDirectory(dirname(path))
}

/** Flushes the directory, where the file system and the platform can. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path).catch(() => undefined)
  try {
    await directory?.sync().catch(() => undefined)
  } finally {
    await directory?.close()
  }
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
    await writeFile(temporary, text, { flush: true })
    await move(temporary)
  } finally {
    await rm(temporary, { force: true })
  }
}
