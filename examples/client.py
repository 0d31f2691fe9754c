"""A client of the bib servers: trains, watches, predicts.

    bib serve --models models --port 20001 &
    env=$(scripts/python-client)
    PYTHONPATH=$env/stubs $env/bin/python examples/client.py 127.0.0.1:20001 data/tc/train.txt
"""
import ast
import sys

import grpc
import job_pb2
import job_pb2_grpc
import predict_pb2
import predict_pb2_grpc
import train_pb2
import train_pb2_grpc


def read(path):
    """The original's lists: ['text', '', 'label', '']."""
    for line in open(path, encoding='utf-8'):
        text, *labels = ast.literal_eval(line)
        yield {'text': text, 'label': next(label for label in labels if label)}


def main(address, path):
    data_set = list(read(path))

    # As the original's clients do.
    channel = grpc.insecure_channel(address)
    stub = train_pb2_grpc.TrainProviderStub(channel)
    request = train_pb2.TrainTextClassificationModelRequest(model_name='tc_train', epochs=2, train_rate=0.8, data_set=data_set)
    job_id = None
    for record in stub.TrainTextClassificationModel(request):
        job_id = record.job_id
        print(f'\r{record.status} {100 * record.progress:5.1f} %  {record.estimate:.1f} s', end='', flush=True)
    print(f'  version {record.model_version}')

    # A job can be watched again, from any record on.
    watch = job_pb2_grpc.JobProviderStub(channel).WatchJob(
        job_pb2.WatchJobRequest(job_id=job_id, after_sequence=record.sequence - 1))
    print('watched again:', [r.status for r in watch])

    predict = predict_pb2_grpc.PredictProviderStub(channel)
    reply = predict.PredictTextClassification(predict_pb2.PredictTextClassificationRequest(
        model_name='tc_train', text=[d['text'] for d in data_set[:3]], top_k=2))
    for example, result in zip(data_set, reply.results):
        print(example['text'], '->', ', '.join(f'{c.label} {c.score:.2f}' for c in result.classes))


if __name__ == '__main__':
    main(*sys.argv[1:])
