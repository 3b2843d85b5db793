/** Reads a file of opening balances or stock: `{"c-7": 100000}`. */
import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { amount, name } from './fields.ts'

export class OpeningFileError extends Error {}

/** @throws OpeningFileError with one line that names the file and its error */
export async function readOpeningFile(file: string, what: string): Promise<ReadonlyMap<string, number>> {
  const value = parse(file, await text(file, what))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OpeningFileError(`${file}: expected an object such as {"c-7": 100000}`)
  }
  const entries = new Map<string, number>()
  for (const [key, entry] of Object.entries(value)) entries.set(check(file, name, key), check(file, amount, entry, key))
  const sum = [...entries.values()].reduce((total, entry) => total + BigInt(entry), 0n)
  if (sum > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new OpeningFileError(`${file}: expected a sum of at most ${Number.MAX_SAFE_INTEGER}, got ${sum}`)
  }
  return entries
}

async function text(file: string, what: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/^\uFEFF/, '')
  } catch (error) {
    throw new OpeningFileError(
      `cannot read the ${what} file ${file} (${reason(error)}): pass an existing one with --${what}`,
    )
  }
}

function parse(file: string, content: string): unknown {
  try {
    return JSON.parse(content)
  } catch (error) {
    throw new OpeningFileError(`${file}: not JSON: ${String(error).replaceAll('\n', ' ')}`)
  }
}

function check<S extends z.ZodType>(file: string, schema: S, value: unknown, key?: string): z.infer<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const where = key === undefined ? 'key' : JSON.stringify(key)
  throw new OpeningFileError(`${file}: ${where}: ${parsed.error.issues[0]?.message}, got ${JSON.stringify(value)}`)
}

function reason(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
