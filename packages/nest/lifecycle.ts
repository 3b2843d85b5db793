import type { BeforeApplicationShutdown, OnApplicationBootstrap, OnModuleInit } from '@nestjs/common'
import type { Logger } from 'concordat/core'
import { checkLogger } from 'concordat/extension'
import { type Service, ServiceClosed } from 'concordat/service'

/** Options that the lifecycle uses. */
export interface LifecycleOptions {
  readonly logger?: Logger | undefined
  readonly start?: 'bootstrap' | 'manual' | undefined
}

/** Starts and closes the service with its application. */
export class Lifecycle implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #service: Service
  readonly #options: LifecycleOptions
  readonly #check: () => void
  #isEnding = false

  /** @param check refuses invalid declarations after all providers were created */
  constructor(service: Service, options: LifecycleOptions, check: () => void) {
    this.#service = service
    this.#options = options
    this.#check = check
  }

  onModuleInit(): void {
    this.#check()
  }

  /** Runs after every `onModuleInit`, so that the dependencies of handlers exist. */
  async onApplicationBootstrap(): Promise<void> {
    if (this.#options.start === 'manual') return
    try {
      await this.#service.start()
    } catch (error) {
      // The application was told to shut down during its start, which is not a failure.
      if (this.#isEnding && error instanceof ServiceClosed) return
      throw error
    }
    // After `NestFactory.createApplicationContext`, which starts the service before a program can call `enableShutdownHooks()`.
    setImmediate(() => this.#warnWithoutHooks())
  }

  #warnWithoutHooks(): void {
    if (this.#isEnding || process.listenerCount('SIGTERM') > 0) return
    checkLogger('ConcordatModule.logger', this.#options.logger).warn(
      {},
      'SIGTERM ends this process at once: call app.enableShutdownHooks() to finish running handlers',
    )
  }

  /** Runs before the HTTP server and, in `onApplicationShutdown`, the pools close: handlers may need both. */
  async beforeApplicationShutdown(): Promise<void> {
    this.#isEnding = true
    await this.#service.close()
  }
}
