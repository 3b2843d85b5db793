#!/bin/sh
exec java -Xmx256M -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' org.apache.kafka.tools.TopicCommand "$@"
