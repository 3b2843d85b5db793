/** What is used of `@dbos-inc/dbos-sdk`. */
export interface DbosSdk {
  readonly DBOS: {
    setConfig(config: object): void
    launch(): Promise<void>
    registerWorkflow<Args extends unknown[], R>(
      work: (...args: Args) => Promise<R>,
      options: { readonly name: string },
    ): (...args: Args) => Promise<R>
    runStep<R>(work: () => Promise<R>, options: { readonly name: string }): Promise<R>
    withNextWorkflowID<R>(id: string, work: () => Promise<R>): Promise<R>
  }
}
