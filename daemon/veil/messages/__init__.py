"""The MQTT messages of a box, as both of its ends read and write them. JSON; docs/mqtt.md is the manual."""
