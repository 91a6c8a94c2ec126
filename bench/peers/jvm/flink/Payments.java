// A Flink job in a cluster of its own process: payments as JSON from a Kafka topic into PostgreSQL, at
// least once or, by XA transactions that are committed with a checkpoint, exactly once.
// java … Payments SETTINGS: the path of a properties file.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.Reader;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.jdbc.JdbcConnectionOptions;
import org.apache.flink.connector.jdbc.JdbcExactlyOnceOptions;
import org.apache.flink.connector.jdbc.JdbcExecutionOptions;
import org.apache.flink.connector.jdbc.JdbcStatementBuilder;
import org.apache.flink.connector.jdbc.core.datastream.sink.JdbcSink;
import org.apache.flink.connector.jdbc.core.datastream.sink.JdbcSinkBuilder;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.postgresql.xa.PGXADataSource;

public final class Payments {
  public static class Payment {
    public long txId;
    public long userId;
    public BigDecimal amount;
    public String status;
    public long createdAt;
    public String note;
  }

  static class Json implements DeserializationSchema<Payment> {
    private transient ObjectMapper mapper;

    @Override
    public Payment deserialize(byte[] bytes) throws IOException {
      if (mapper == null) mapper = new ObjectMapper();
      JsonNode node = mapper.readTree(bytes);
      Payment payment = new Payment();
      payment.txId = node.get("tx_id").asLong();
      payment.userId = node.get("user_id").asLong();
      payment.amount = new BigDecimal(node.get("amount").asText());
      payment.status = node.get("status").asText();
      payment.createdAt = node.get("created_at").asLong();
      payment.note = node.get("note").isNull() ? null : node.get("note").asText();
      return payment;
    }

    @Override
    public boolean isEndOfStream(Payment payment) {
      return false;
    }

    @Override
    public TypeInformation<Payment> getProducedType() {
      return TypeInformation.of(Payment.class);
    }
  }

  private static final String INSERT =
      "INSERT INTO payments (tx_id, user_id, amount, status, created_at, note)"
          + " VALUES (?, ?, ?, ?, ?, ?)";
  private static final String UPSERT =
      INSERT
          + " ON CONFLICT (tx_id) DO UPDATE SET user_id = EXCLUDED.user_id,"
          + " amount = EXCLUDED.amount, status = EXCLUDED.status,"
          + " created_at = EXCLUDED.created_at, note = EXCLUDED.note";

  private static final JdbcStatementBuilder<Payment> FIELDS =
      (statement, payment) -> {
        statement.setLong(1, payment.txId);
        statement.setLong(2, payment.userId);
        statement.setBigDecimal(3, payment.amount);
        statement.setString(4, payment.status);
        statement.setTimestamp(5, new Timestamp(payment.createdAt));
        if (payment.note == null) statement.setNull(6, Types.VARCHAR);
        else statement.setString(6, payment.note);
      };

  public static void main(String[] args) throws Exception {
    Properties settings = new Properties();
    try (Reader reader = Files.newBufferedReader(Path.of(args[0]))) {
      settings.load(reader);
    }
    KafkaSource<Payment> source =
        KafkaSource.<Payment>builder()
            .setBootstrapServers(settings.getProperty("brokers"))
            .setTopics(settings.getProperty("topic"))
            .setGroupId(settings.getProperty("topic"))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new Json())
            .build();
    StreamExecutionEnvironment environment = environment(settings);
    environment
        .fromSource(source, WatermarkStrategy.noWatermarks(), "payments")
        .uid("source")
        .sinkTo(sink(settings))
        .uid("sink");
    environment.execute("payments");
  }

  private static StreamExecutionEnvironment environment(Properties settings) {
    Configuration configuration = new Configuration();
    configuration.setString("execution.checkpointing.dir", settings.getProperty("checkpoints"));
    configuration.setString(
        "execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
    configuration.setString("taskmanager.numberOfTaskSlots", "4");
    configuration.setString("pipeline.object-reuse", "true");
    configuration.setString("taskmanager.memory.network.min", "64mb");
    configuration.setString("taskmanager.memory.network.max", "64mb");
    String restore = settings.getProperty("restore");
    if (restore != null) configuration.setString("execution.state-recovery.path", restore);
    int parallelism = Integer.parseInt(settings.getProperty("parallelism"));
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(parallelism, configuration);
    environment.enableCheckpointing(
        Long.parseLong(settings.getProperty("checkpointMs")), CheckpointingMode.EXACTLY_ONCE);
    return environment;
  }

  private static JdbcSink<Payment> sink(Properties settings) {
    boolean exactlyOnce = settings.getProperty("mode").equals("xa");
    JdbcExecutionOptions batches =
        JdbcExecutionOptions.builder()
            .withBatchSize(5000)
            .withBatchIntervalMs(200)
            // XA does not allow its own retries: they could write twice.
            .withMaxRetries(exactlyOnce ? 0 : 5)
            .build();
    String statement = settings.getProperty("mode").equals("upsert") ? UPSERT : INSERT;
    String url = settings.getProperty("database");
    JdbcSinkBuilder<Payment> builder =
        JdbcSink.<Payment>builder()
            .withQueryStatement(statement, FIELDS)
            .withExecutionOptions(batches);
    if (!exactlyOnce) {
      return builder.buildAtLeastOnce(
          new JdbcConnectionOptions.JdbcConnectionOptionsBuilder()
              .withUrl(url)
              .withDriverName("org.postgresql.Driver")
              .build());
    }
    return builder.buildExactlyOnce(
        // PostgreSQL has one transaction a connection.
        JdbcExactlyOnceOptions.builder().withTransactionPerConnection(true).build(),
        () -> {
          PGXADataSource source = new PGXADataSource();
          source.setUrl(url);
          return source;
        });
  }
}
