import { defineConfig } from 'nodeos';

export default defineConfig({
  start: 'node server.js',
  memory: '256M',
  publish: ['8080:80'],
  formats: ['disk.zst'],
});
