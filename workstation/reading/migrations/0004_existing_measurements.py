"""Numbers for the measurements that are there already, and their values as rows.

On its own: PostgreSQL changes no table in the transaction that wrote its rows.
"""

from django.db import migrations


def number_and_list(apps, schema_editor):
    Measurement = apps.get_model("reading", "Measurement")
    MeasuredValue = apps.get_model("reading", "MeasuredValue")
    Layer = apps.get_model("analyzing", "Layer")
    numbers = {}
    for row in Measurement.objects.order_by("id").iterator():
        numbers[row.case_id] = numbers.get(row.case_id, 0) + 1
        row.number = numbers[row.case_id]
        row.save(update_fields=["number"])
        method = row.evidence.get("method", "")[:300]
        if row.tool == "length":
            MeasuredValue.objects.create(
                measurement=row, position=0, name="length", value=row.value, unit=row.unit,
                method=method,
            )
            continue
        for position, found in enumerate(row.evidence.get("values", [])):
            layer = Layer.objects.filter(pk=found["layer"]).first()
            MeasuredValue.objects.create(
                measurement=row, position=position, key=layer.key if layer else "",
                layer_label=found["label"][:64], name="value", value=found["value"],
                unit=found["unit"], method=method,
            )


def forget(apps, schema_editor):
    """Backwards: the numbers and rows go with their columns and table."""


class Migration(migrations.Migration):

    dependencies = [
        ("analyzing", "0005_pet_entries"),
        ("reading", "0003_measurements"),
    ]

    operations = [migrations.RunPython(number_and_list, forget)]
