/** autocannon has no types of its own; what is used here. https://github.com/mcollina/autocannon */
declare module 'autocannon' {
  export default function autocannon(options: {
    url: string;
    connections: number;
    /** Seconds. */
    duration: number;
  }): Promise<{ requests: { average: number } }>;
}
