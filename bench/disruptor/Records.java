// The LMAX Disruptor as its documents use it, for bench ring: one producer, one BatchEventProcessor,
// YieldingWaitStrategy, records of 200 bytes copied in and out, published one by one.
// Arguments: records a run, slots of the ring. Runs three times and prints the last one's records a
// second: the runs before are for the compiler.
import com.lmax.disruptor.BatchEventProcessor;
import com.lmax.disruptor.BatchEventProcessorBuilder;
import com.lmax.disruptor.EventHandler;
import com.lmax.disruptor.RingBuffer;
import com.lmax.disruptor.YieldingWaitStrategy;
import java.nio.ByteBuffer;
import java.util.concurrent.CountDownLatch;

public final class Records {
  private static final int RECORD_BYTES = 200;
  private static final int SOURCES = 1024;
  private static final int RUNS = 3;

  private static final class Slot {
    final byte[] bytes = new byte[RECORD_BYTES];
  }

  /** Copies each record out and checks its number, which the producer wrote into it. */
  private static final class Reader implements EventHandler<Slot> {
    private final ByteBuffer record = ByteBuffer.allocate(RECORD_BYTES);
    private final long last;
    private final CountDownLatch done = new CountDownLatch(1);
    private long number;

    Reader(long records) {
      last = records - 1;
    }

    @Override
    public void onEvent(Slot slot, long sequence, boolean isBatchEnd) {
      System.arraycopy(slot.bytes, 0, record.array(), 0, RECORD_BYTES);
      if (record.getInt(0) != (int) number) throw new IllegalStateException("Record " + number);
      if (number++ == last) done.countDown();
    }
  }

  private static double run(long records, int slots) throws InterruptedException {
    RingBuffer<Slot> ring =
        RingBuffer.createSingleProducer(Slot::new, slots, new YieldingWaitStrategy());
    Reader reader = new Reader(records);
    BatchEventProcessor<Slot> processor =
        new BatchEventProcessorBuilder().build(ring, ring.newBarrier(), reader);
    ring.addGatingSequences(processor.getSequence());
    Thread thread = new Thread(processor);
    thread.start();
    ByteBuffer[] sources = new ByteBuffer[SOURCES];
    for (int i = 0; i < SOURCES; i++) sources[i] = ByteBuffer.allocate(RECORD_BYTES);
    long begun = System.nanoTime();
    for (long number = 0; number < records; number++) {
      ByteBuffer source = sources[(int) number & (SOURCES - 1)];
      source.putInt(0, (int) number);
      long sequence = ring.next();
      System.arraycopy(source.array(), 0, ring.get(sequence).bytes, 0, RECORD_BYTES);
      ring.publish(sequence);
    }
    reader.done.await();
    double rate = records * 1e9 / (System.nanoTime() - begun);
    processor.halt();
    thread.join();
    return rate;
  }

  public static void main(String[] arguments) throws InterruptedException {
    long records = Long.parseLong(arguments[0]);
    int slots = Integer.parseInt(arguments[1]);
    double rate = 0;
    for (int i = 0; i < RUNS; i++) rate = run(records, slots);
    System.out.println(Math.round(rate));
  }
}
