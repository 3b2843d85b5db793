/**
 * Nest application as a process: it handles jobs slowly, and ends on request. Decorators are called as functions, as
 * Node strips types only.
 */
import 'reflect-metadata'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConcordatModule, Sink } from '@concordat/nest'
import { Injectable, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { TransactionContext } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { type Job, jobs } from './drain-job.ts'

const pool = new pg.Pool({ connectionString: process.env['DATABASE'], max: 10 })
const sql = pgClient(pool)

class Worker {
  async work({ n }: Job, { tx }: TransactionContext): Promise<void> {
    process.stdout.write(`began ${n}\n`)
    await tx.query('INSERT INTO done VALUES ($1, $2)', [n, process.pid])
    await sleep(150)
  }
  async onApplicationShutdown(): Promise<void> {
    await pool.end()
  }
}
Injectable()(Worker)
const method = Object.getOwnPropertyDescriptor(Worker.prototype, 'work') as TypedPropertyDescriptor<Worker['work']>
Sink(jobs, { group: 'workers', once: true, concurrency: 4 })(Worker.prototype, 'work', method)

class AppModule {}
const root = ConcordatModule.forRoot({ name: 'worker', transport: postgresTransport({ sql }), sql })
Module({ imports: [root], providers: [Worker] })(AppModule)

const app = await NestFactory.create(AppModule, { logger: false })
// Without `useProcessExit` Nest ends itself by the signal once it has drained: no exit code 0.
app.enableShutdownHooks([], { useProcessExit: true })
await app.listen(0, '127.0.0.1')
process.stdout.write('listening\n')
