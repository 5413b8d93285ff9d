from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('reading', '0004_existing_measurements'),
    ]

    operations = [
        migrations.AddConstraint(
            model_name='measurement',
            constraint=models.UniqueConstraint(fields=('case', 'number'), name='measurement_number'),
        ),
    ]
