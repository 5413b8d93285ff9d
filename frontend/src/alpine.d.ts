declare module '@alpinejs/csp' {
  const Alpine: {
    data(name: string, factory: () => Record<string, unknown> & ThisType<Record<string, unknown> & { $el: HTMLElement }>): void;
    start(): void;
  };
  export default Alpine;
}
