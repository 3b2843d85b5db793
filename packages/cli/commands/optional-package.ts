import { UsageError } from './command.ts'

/** Imports an optional package: a driver, or the console. @throws UsageError naming the missing package */
export async function installed<T>(name: string, loading: Promise<T>): Promise<T> {
  return loading.catch(() => {
    throw new UsageError(`${name} is missing: npm install ${name}`)
  })
}
