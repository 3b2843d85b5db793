import { SchemaError, type StandardSchemaV1, validate } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

const Order = z.object({ lines: z.array(z.object({ quantity: z.number().int().positive() })) })

function schemaOf(validateValue: StandardSchemaV1['~standard']['validate']): StandardSchemaV1 {
  return { '~standard': { version: 1, vendor: 'test', validate: validateValue } }
}

describe('validate', () => {
  it('returns the schema’s output', () => {
    expect(validate('x', z.string().transform(Number), '7')).toBe(7)
  })

  it('stays synchronous with a synchronous schema and follows an asynchronous one', async () => {
    expect(validate('x', z.string(), 'text')).toBe('text')
    const late = schemaOf(async (value) => ({ value: `${String(value)} late` }))
    await expect(validate('x', late, 'text')).resolves.toBe('text late')
    const refusing = schemaOf(async () => ({ issues: [{ message: 'no' }] }))
    await expect(validate('x', refusing, 'text')).rejects.toThrow('x does not fit its schema: no')
  })

  it('follows a foreign promise, which is not an instance of Promise', async () => {
    const result: StandardSchemaV1.Result<unknown> = { value: 'late' }
    // oxlint-disable-next-line no-thenable -- what is tested
    const promiseOfAnotherRealm = { then: (resolve: (value: typeof result) => void) => resolve(result) }
    const schema = schemaOf(() => promiseOfAnotherRealm as unknown as typeof result)
    await expect(validate('x', schema, 'text')).resolves.toBe('late')
  })

  it('names every issue by its path, as code would', () => {
    const value = { lines: [{ quantity: 1 }, { quantity: -1 }, { quantity: 'two' }] }
    const error = refusalOf(() => validate('payload of "orders"', Order, value))
    expect(error.subject).toBe('payload of "orders"')
    expect(error.issues.map(({ path }) => path)).toEqual(['lines[1].quantity', 'lines[2].quantity'])
    expect(error.message).toMatch(
      /^payload of "orders" does not fit its schema: lines\[1\]\.quantity: .+; lines\[2\]\.quantity: .+/,
    )
  })

  it('reads path segments given as objects', () => {
    const schema = schemaOf(() => ({ issues: [{ message: 'bad', path: [{ key: 'a' }, { key: 0 }, 'b'] }] }))
    expect(refusalOf(() => validate('x', schema, {})).issues).toEqual([{ path: 'a[0].b', message: 'bad' }])
  })

  it('keeps twenty issues at most', () => {
    const schema = schemaOf(() => ({ issues: Array.from({ length: 1_000 }, () => ({ message: 'bad' })) }))
    expect(refusalOf(() => validate('x', schema, {})).issues).toHaveLength(20)
  })
})

function refusalOf(work: () => unknown): SchemaError {
  try {
    work()
  } catch (error) {
    if (error instanceof SchemaError) return error
    throw error
  }
  throw new Error('the value was accepted')
}
