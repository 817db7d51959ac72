import { defineConfig } from 'nodeos';

export default defineConfig({
  build: 'npm run build',
  hostname: 'greeter',
  env: { GREETING: 'Hello' },
  files: { '/etc/greeting': 'greeting.txt' },
  memory: '192M',
});
