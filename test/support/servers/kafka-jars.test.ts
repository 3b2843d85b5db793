import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { fetchKafkaJars, haveKafkaJars, kafkaJarFolder } from './kafka-jars.ts'

test('brokers that start side by side on a fresh machine fetch the jars once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-jars-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const [calls, maven] = [join(folder, 'calls'), join(folder, 'mvn')]
  writeFileSync(maven, `#!/bin/sh\necho called >>'${calls}'\n`)
  chmodSync(maven, 0o755)
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`)
  vi.stubEnv('XDG_CACHE_HOME', folder)
  onTestFinished(() => void vi.unstubAllEnvs())
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  onTestFinished(() => void vi.restoreAllMocks())
  await Promise.all([fetchKafkaJars(), fetchKafkaJars(), fetchKafkaJars()])
  expect(haveKafkaJars()).toBe(true)
  expect(existsSync(kafkaJarFolder())).toBe(true)
  expect(readFileSync(calls, 'utf8')).toBe('called\n')
})
