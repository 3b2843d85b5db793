/** The program of `test/service/program/`, in a project that installed the packed package. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { expect } from 'vitest'
import { install, type Packed, typeCheck } from './tarball.ts'

const FILES = ['shop.ts', 'place.ts']
const DRIVERS = ['@electric-sql/pglite', '@opentelemetry/api', 'ioredis', 'kafkajs', 'amqplib', 'pg', 'redlock']
const PEERS = [...DRIVERS, 'pino', 'zod']
const TYPES = ['@types/node', '@types/pg']
const PRINTS = `o-1 completed
o-2 compensated
sagas o-1 o-2
receipts o-1 o-2
leads settlement
health up true true
`

/** The program's folder, type-checked. */
export async function installProgram(packed: Packed): Promise<string> {
  const project = await install(packed, 'service-program', [...PEERS, ...TYPES])
  const texts = await Promise.all(FILES.map((file) => readFile(`test/service/program/${file}`, 'utf8')))
  const options = ['--skipLibCheck', '--allowImportingTsExtensions']
  await typeCheck(project, Object.fromEntries(FILES.map((file, i) => [file, texts[i] ?? ''])), options)
  return project
}

/** Runs it, and expects its output and that its own signal ends it. */
export async function expectProgram(project: string, env: Readonly<Record<string, string>>): Promise<void> {
  const prefix = `shop-${randomUUID()}`
  const flags = ['--no-warnings', '--disable-warning=TimeoutNegativeWarning']
  const ended = await new Promise<{ readonly stdout: string; readonly signal: unknown }>((resolve) => {
    const options = { cwd: project, env: { ...process.env, ...env, PREFIX: prefix }, timeout: 150_000 }
    execFile(process.execPath, [...flags, 'shop.ts'], options, (error, stdout, stderr) =>
      resolve({ stdout: stdout + stderr, signal: error?.signal }),
    )
  })
  expect(ended).toEqual({ stdout: PRINTS, signal: 'SIGTERM' })
}
