/** Writes files completely or not at all. */
import { randomUUID } from 'node:crypto'
import { link, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode } from '../core/errors.ts'

/** Replaces the file, which is on the disk when the promise resolves: a power failure leaves no empty file. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await fromTemporary(path, text, (temporary) => rename(temporary, path))
  await syncDirectory(dirname(path))
}

/** Flushes the directory, if the file system and the platform can. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path).catch(() => undefined)
  try {
    await directory?.sync().catch(() => undefined)
  } finally {
    await directory?.close()
  }
}

/** @returns false when the file already exists */
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
