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

  /** @param check what is to be refused when all providers are made */
  constructor(service: Service, options: LifecycleOptions, check: () => void) {
    this.#service = service
    this.#options = options
    this.#check = check
  }

  onModuleInit(): void {
    this.#check()
  }

  /** After every `onModuleInit`: what handlers need is there. */
  async onApplicationBootstrap(): Promise<void> {
    if (this.#options.start === 'manual') return
    try {
      await this.#service.start()
    } catch (error) {
      // The application was told to end while it started: that is no failure of it.
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

  /** Before the HTTP server and, in `onApplicationShutdown`, the pools close: handlers may need both. */
  async beforeApplicationShutdown(): Promise<void> {
    this.#isEnding = true
    await this.#service.close()
  }
}
